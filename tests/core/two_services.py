"""Two services in one process that say what they do: `python -m tests.core.two_services [dies]`."""

import asyncio
import sys

from driftline.metrics import Metrics
from driftline.service.app import create_service
from driftline.service.logs import configure
from driftline.service.run import Served, serve
from driftline.service.settings import Settings


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


class Job:
    """Works until it is stopped; one that dies does so at once."""

    def __init__(self, name: str, *, dies: bool = False) -> None:
        self.name = name
        self._dies = dies
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        if self._dies:
            raise ValueError("poisoned")
        await self._stopping.wait()
        say(f"{self.name} has written its last checkpoint")

    async def stop(self) -> None:
        say(f"{self.name} is stopped")
        self._stopping.set()


def served(name: str, *, dies: bool = False) -> Served:
    job = Job(name, dies=dies)
    return Served(name, create_service(name, "", metrics=Metrics(), jobs=[job]), Settings(port=0))


async def close() -> None:
    say("the bus is closed")


if __name__ == "__main__":
    configure(["both", "one", "two"], "info")
    serve([served("one"), served("two", dies="dies" in sys.argv)], close)
