"""A combiner on a durable bus that is fed with alerts until it is killed: run as `python -m tests.combiner.sinks.killed
FOLDER SINKS FIRST`, see test_kill.py. Writes the number of each alert that the bus has acknowledged."""

import asyncio
import sys
from pathlib import Path

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.messages import ALERTS
from driftline_combiner.app import create_app
from driftline_combiner.settings import CombinerSettings
from tests.combiner.sinks.blends import TANK, alert

AT_ONCE, IN_ALL = 5, 200


async def main(folder: Path, sinks: Path, first: int) -> None:
    bus = EmbeddedBus(EmbeddedSettings(folder))
    app = create_app(CombinerSettings(sinks=sinks, checkpoint_every=0.05, page_points=0), bus, streams={"tank": TANK})
    async with app.router.lifespan_context(app):
        for n in range(first, first + IN_ALL, AT_ONCE):
            await bus.publish(ALERTS, [alert(n + more, "gap") for more in range(AT_ONCE)])
            sys.stdout.write(f"{n + AT_ONCE}\n")
            sys.stdout.flush()
            await asyncio.sleep(0)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
