"""Publishes candidates that passed the gate, keeps those that did not, and removes versions that nobody needs."""

import logging
from collections.abc import Callable

import msgspec

from driftline.errors import NotFound, RefusedModel, StoreUnavailable
from driftline.models import manifest as manifests
from driftline.models.manifest import Manifest
from driftline.models.signing import Signer
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline.versions.releases import Current, current
from driftline_trainer.fit import Trained
from driftline_trainer.prune import prune
from driftline_trainer.publish import publish
from driftline_trainer.rollouts.trials import Trials

log = logging.getLogger(__name__)


class Publisher:
    """versions_kept: newest versions that are not removed."""

    def __init__(
        self, store: Store, trials: Trials, signer: Signer | None, clock: Callable[[], float], *, versions_kept: int
    ) -> None:
        self._store = store
        self._trials = trials
        self._signer = signer
        self._clock = clock
        self._versions_kept = versions_kept

    async def pass_gate(self, stream: StreamDefinition, member: str, trained: Trained) -> None:
        """Raises RefusedModel, and keeps the candidate with its report, when it is not good enough."""
        extra = {"stream": stream.name, "member": member}
        if trained.report.passed:
            log.info("candidate passed the gate: %s", trained.report.beaten, extra=extra)
            return
        report = msgspec.json.format(msgspec.json.encode(trained.report), indent=1)
        for name, body in (("model.tflite", trained.model), ("report.json", report)):
            await self._store.put(manifests.refused_key(stream.name, member, trained.model, name), body)
        raise RefusedModel("gate", trained.report.reason)

    async def publish(
        self,
        stream: StreamDefinition,
        member: str,
        trained: Trained,
        before: Current | None,
        parent: str | None,
        windows: dict[str, str],
    ) -> Manifest:
        """Raises Conflict where another trainer published one since `before`."""
        manifest = await publish(
            self._store,
            stream,
            member,
            trained,
            signer=self._signer,
            before=before,
            parent=parent,
            windows=windows,
            now=self._clock(),
            trial=await self._trials.of(stream, member, before),
        )
        await self._prune(stream.name, member)
        return manifest

    async def _prune(self, stream: str, member: str) -> None:
        """What can't be removed now is removed after the next publication."""
        try:
            newest = await current(self._store, stream, member)
            if newest is not None:
                await prune(self._store, stream, member, newest, keep=self._versions_kept)
        except (StoreUnavailable, RefusedModel, NotFound) as error:
            log.warning("old versions not removed: %s", error, extra={"stream": stream, "member": member})
