"""The newest heartbeats of all edges, read from the store as far as they have changed."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from driftline.errors import NotFound, RefusedNote, TooLarge
from driftline.fleet.heartbeat import Heartbeat, model_name
from driftline.fleet.names import HEARTBEATS, edge_of
from driftline.fleet.notes import NOTE_LIMIT, opened
from driftline.store.port import Store

log = logging.getLogger(__name__)

SILENT_S = 86_400.0
"""After so long without a heartbeat an edge is not counted on."""


class FleetView(Protocol):
    """What roll-outs know of the edges."""

    async def look(self) -> Mapping[str, Heartbeat]:
        """The newest heartbeat of each edge, by its id. Raises StoreUnavailable."""

    def is_silent(self, edge: str) -> bool:
        """Whether an edge is not counted on, since it has not been heard for long."""


def counted_on(
    view: FleetView, heartbeats: Mapping[str, Heartbeat], stream: str, member: str
) -> dict[str, Mapping[str, str]]:
    """The labels of the edges that work on a stream and are not silent, by id."""
    name = model_name(stream, member)
    return {
        edge: heartbeat.labels
        for edge, heartbeat in heartbeats.items()
        if (name in heartbeat.models or stream in heartbeat.streams) and not view.is_silent(edge)
    }


@dataclass(frozen=True)
class _Heard:
    heartbeat: Heartbeat
    etag: str
    since: float
    """By the monotonic clock."""
    again: bool
    """Whether it replaced another one that was heard here, so that the edge lived then, whatever its clock shows."""


class StoreHeartbeats:
    """See `FleetView`. clock: seconds since the epoch; ticks: seconds that never jump."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ticks = ticks
        self._heard: dict[str, _Heard] = {}
        self._refused: set[str] = set()

    async def look(self) -> Mapping[str, Heartbeat]:
        keys = [listed.key async for listed in self._store.list(HEARTBEATS)]
        edges = {edge: key for key in keys if (edge := edge_of(key)) is not None}
        for edge in set(self._heard) - set(edges):
            # Somebody has removed it for good.
            del self._heard[edge]
        for edge, key in edges.items():
            await self._listen(edge, key)
        return {edge: heard.heartbeat for edge, heard in self._heard.items()}

    def is_silent(self, edge: str) -> bool:
        heard = self._heard.get(edge)
        if heard is None:
            return True
        if heard.again:
            return self._ticks() - heard.since > SILENT_S
        # At the first look only its clock can tell how long ago it wrote.
        return self._clock() - heard.heartbeat.at > SILENT_S

    async def _listen(self, edge: str, key: str) -> None:
        before = self._heard.get(edge)
        try:
            stored = await self._store.get(key, unless=before.etag if before else None, limit=NOTE_LIMIT)
            if stored is None:
                return
            heartbeat = _of(edge, stored.body)
        except NotFound:
            return
        except (RefusedNote, TooLarge) as error:
            if edge not in self._refused:
                self._refused.add(edge)
                log.warning("heartbeat not used: %s", error, extra={"edge": edge})
            return
        self._refused.discard(edge)
        self._heard[edge] = _Heard(heartbeat, stored.etag, self._ticks(), again=before is not None)


def _of(edge: str, payload: bytes) -> Heartbeat:
    """Raises RefusedNote."""
    heartbeat = opened(payload, Heartbeat, None)
    if heartbeat.edge != edge:
        raise RefusedNote(f"found a heartbeat of {heartbeat.edge!r}, expected one of {edge!r}")
    return heartbeat
