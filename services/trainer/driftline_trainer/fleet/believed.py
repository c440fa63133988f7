"""The fleet as roll-outs see it: the heartbeats that are believed, and which edges are counted on."""

import time
from collections.abc import Callable, Mapping

from driftline.fleet.heartbeat import Heartbeat
from driftline.fleet.reading import SILENT_S
from driftline_trainer.fleet.book import FleetBook
from driftline_trainer.fleet.watch import FleetWatch


class BelievedFleet:
    """See `driftline.fleet.reading.FleetView`. watch: reads all heartbeats before the first answer; then its own
    job keeps the book."""

    def __init__(self, book: FleetBook, watch: FleetWatch, clock: Callable[[], float] = time.time) -> None:
        self._book = book
        self._watch = watch
        self._clock = clock
        self._has_looked = False

    async def look(self) -> Mapping[str, Heartbeat]:
        if not self._has_looked:
            await self._watch.reconcile(None)
            self._has_looked = True
        return {
            record.edge: record.heartbeat
            for record in self._book.since(-1)
            if record.heartbeat is not None and not record.is_revoked
        }

    def is_silent(self, edge: str) -> bool:
        last = self._book.record(edge).last
        return last is None or self._clock() - last > SILENT_S
