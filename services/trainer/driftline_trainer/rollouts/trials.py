"""How a new version is published: on trial first, or to all edges at once."""

import logging
from collections.abc import Callable

from driftline.fleet.quarantine import quarantine_of
from driftline.fleet.reading import FleetView, counted_on
from driftline.fleet.rollout import first_trial
from driftline.models.manifest import Trial
from driftline.models.signing import Trust
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline.versions.releases import Current

log = logging.getLogger(__name__)


def at_once(_: str) -> None:
    """No trial."""


class Trials:
    """trust: whose quarantines count."""

    def __init__(self, store: Store, fleet: FleetView, trust: Trust, clock: Callable[[], float]) -> None:
        self._store = store
        self._fleet = fleet
        self._trust = trust
        self._clock = clock

    async def of(self, stream: StreamDefinition, member: str, before: Current | None) -> Callable[[str], Trial | None]:
        """By the next version's name, which edges try it first. Raises StoreUnavailable."""
        stages = stream.rollout.stages_of(member)
        if len(stages) == 1 or before is None or not await self._may_stay(stream, member, before):
            return at_once
        heartbeats = await self._fleet.look()
        edges = counted_on(self._fleet, heartbeats, stream.name, member)
        extra = {"stream": stream.name, "member": member}
        if not edges:
            log.info("the next version goes to all edges at once: none has left a heartbeat of a day", extra=extra)
        now = self._clock()
        return lambda version: first_trial(stages, stream.rollout.first, version, edges, now)

    async def _may_stay(self, stream: StreamDefinition, member: str, before: Current) -> bool:
        """Whether the version before can serve those that are not in the trial."""
        if before.manifest.definition != stream.fingerprint:
            return False
        return await quarantine_of(self._store, stream.name, member, before.version, self._trust) is None
