"""The job that hears store events on a topic, for stores that can write them to Kafka: one more source of hints."""

import logging
from contextlib import aclosing

import msgspec
import stamina

from driftline.bus.port import Bus
from driftline.errors import BusUnavailable
from driftline.messages import store_events
from driftline.stoppable import StoppableWork
from driftline.store.reconcile import Hinted

log = logging.getLogger(__name__)


class StoreEventReader:
    """Wakes `reconciler` with every event on `topic`; see `driftline.service.app.BackgroundJob`. While the broker is
    away, its poll works alone."""

    name = "store events"

    def __init__(self, bus: Bus, topic: str, reconciler: Hinted) -> None:
        self._bus = bus
        self._topic = store_events(topic)
        self._reconciler = reconciler
        self._work = StoppableWork()

    async def run(self) -> None:
        await self._work.run(self._hear())

    async def stop(self) -> None:
        await self._work.stop()

    @stamina.retry(on=BusUnavailable, attempts=None, timeout=None, wait_max=10.0)
    async def _hear(self) -> None:
        async with aclosing(self._bus.tail(self._topic)) as pages:
            async for page in pages:
                if not page:
                    # From now on all is heard; what came before is found by looking.
                    self._reconciler.wake()
                for envelope in page:
                    self._reconciler.hint(msgspec.json.encode(envelope.value))
