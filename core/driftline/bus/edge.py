"""The edge's id: made at the first start, and kept on its own bus, where its data are.

All services of one edge, and all their replicas, find the same one. An edge whose disk was replaced is another one.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable

import stamina

from driftline.bus.port import Bus
from driftline.errors import BusUnavailable, UnusableData
from driftline.messages import EDGE, EdgeId
from driftline.stoppable import StoppableWork

log = logging.getLogger(__name__)

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
LENGTH = 12


def new_id() -> str:
    """One that no other edge has."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


async def edge_id(bus: Bus, propose: Callable[[], str] = new_id) -> str:
    """The id on the bus; where there is none, one is put there. Of several that do so at once the first one counts.

    Raises BusUnavailable.
    """
    if not (ids := await bus.read(EDGE)):
        await bus.publish(EDGE, [EdgeId(propose())])
        ids = await bus.read(EDGE)
    if not ids:
        raise BusUnavailable(f"{EDGE.name}: found nothing, expected the id that was put there a moment ago")
    return ids[0].value.id


async def joined_id(bus: Bus, wanted: str) -> str:
    """`wanted`, under which this edge has joined its fleet, put on the bus where none is. Raises BusUnavailable, and
    UnusableData where the bus has another one: its data are another edge's."""
    known = await edge_id(bus, lambda: wanted)
    if known != wanted:
        raise UnusableData(
            f"found the data of edge {known}, expected those of {wanted}, under which this device has joined the "
            f"fleet: join again as {known} with a token for that id, or move the bus's data away"
        )
    return known


class Edge:
    """Finds the edge's id as soon as the bus answers; see
    `driftline.service.app.BackgroundJob`. on_known: called once it is known. wanted: under which it has joined a
    fleet; a bus with another one ends the job."""

    name = "edge id"

    def __init__(self, bus: Bus, on_known: Callable[[], None] = lambda: None, wanted: str | None = None) -> None:
        self._bus = bus
        self._on_known = on_known
        self._wanted = wanted
        self._known: str | None = None
        self._is_known = asyncio.Event()
        self._work = StoppableWork()

    def known(self) -> str | None:
        """The id, or None as long as the bus has not answered."""
        return self._known

    async def id(self) -> str:
        """The id, however long the bus is away."""
        while self._known is None:
            await self._is_known.wait()
        return self._known

    async def run(self) -> None:
        await self._work.run(self._find())

    async def stop(self) -> None:
        await self._work.stop()

    async def _find(self) -> None:
        retrying = stamina.retry_context(on=BusUnavailable, attempts=None, timeout=None, wait_max=5.0)
        async for attempt in retrying:
            with attempt:
                self._known = await (joined_id(self._bus, self._wanted) if self._wanted else edge_id(self._bus))
        log.info("this edge's id", extra={"edge": self._known})
        self._is_known.set()
        self._on_known()
        # Whoever has nothing more to do stays, since a job that ends is one that died.
        await asyncio.Event().wait()
