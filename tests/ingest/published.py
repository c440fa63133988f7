"""What ingest has put onto the bus."""

import asyncio
from contextlib import aclosing

from driftline.bus.memory import MemoryBus
from driftline.messages import RECORDS, Record

PATIENCE_S = 30


async def published(bus: MemoryBus, count: int) -> list[Record]:
    """All records, once there are `count`."""
    records: list[Record] = []
    async with asyncio.timeout(PATIENCE_S), aclosing(bus.tail(RECORDS, earliest=True)) as pages:
        async for page in pages:
            records += [envelope.value for envelope in page]
            if len(records) >= count:
                return records
    raise AssertionError("unreachable")
