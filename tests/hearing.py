"""What is logged, with all that belongs to it, and a way to wait for it."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_S = 120


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._grown = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(str(vars(record)))
        self._loop.call_soon_threadsafe(self._grown.set)

    async def until(self, words: str) -> str:
        """The first line that holds the words."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    self._grown.clear()
                    found = [line for line in self.lines if words in line]
                    if found:
                        return found[0]
                    await self._grown.wait()
        except TimeoutError as error:
            raise AssertionError(f"nothing of {words!r} among {self.lines[-3:]}") from error


@contextmanager
def hearing() -> Iterator[Heard]:
    heard, root = Heard(), logging.getLogger()
    root.addHandler(heard)
    try:
        yield heard
    finally:
        root.removeHandler(heard)
