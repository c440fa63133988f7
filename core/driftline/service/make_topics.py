"""Makes topics before anybody needs them: a store that writes its events to Kafka wants its topic to be there.

python -m driftline.service.make_topics driftline.store-events
"""

import asyncio
import sys

import stamina

from driftline.errors import BusUnavailable, InvalidInput
from driftline.messages import ALERTS, BLENDS, DEAD_LETTERS, EDGE, FORECASTS, OBSERVATIONS, RECORDS, REPORTS
from driftline.service.ports import open_bus
from driftline.service.settings import Settings, read_settings

OURS = tuple(topic.name for topic in (RECORDS, OBSERVATIONS, FORECASTS, BLENDS, ALERTS, REPORTS, DEAD_LETTERS, EDGE))
PATIENCE_S = 60.0


async def make(settings: Settings, names: list[str]) -> None:
    """All of ours, and `names`. Raises BusUnavailable when the broker does not answer for long."""
    bus = open_bus(settings)
    try:
        async for attempt in stamina.retry_context(on=BusUnavailable, attempts=None, timeout=PATIENCE_S, wait_max=2.0):
            with attempt:
                await bus.topics.make([*OURS, *names])
    finally:
        await bus.close()


if __name__ == "__main__":
    try:
        asyncio.run(make(read_settings(Settings), sys.argv[1:]))
    except (BusUnavailable, InvalidInput) as error:
        sys.exit(str(error))
