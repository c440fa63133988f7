"""Reads files that come from outside in a child process of its own, so that none can take this one's memory."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from driftline.errors import InvalidInput
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import FutureRows, Rows
from driftline_trainer.child import ChildProcess, ProcessDied
from driftline_trainer.limits import begin
from driftline_trainer.unpacking import Means, Packed, prove, too_much, unpack, unpack_futures

log = logging.getLogger(__name__)

T = TypeVar("T")

IDLE_S = 10.0
"""How long a child waits for the next job's files before its memory is given back."""
TRIES = 2
"""A child that was killed from outside says nothing of the file; one that dies of the same file again does."""


class Reading:
    """A child that unpacks one file after the other; it has no TensorFlow, and begins with the first file."""

    def __init__(self, means: Means, niceness: int = 0) -> None:
        """niceness: how far the child lets other processes go first."""
        self._means = means
        self._one = asyncio.Lock()
        self._proven: int | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._child = ChildProcess("unpacking", partial(begin, means.memory, niceness))

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.pid

    def rest(self, seconds: float = IDLE_S) -> None:
        """Ends the child unless another file comes within so many seconds: a new one takes a second to begin."""
        self._wake()
        self._resting = asyncio.get_running_loop().call_later(seconds, self.close)

    def _wake(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
        self._resting = None

    def close(self) -> None:
        """Ends the child, and gives back what it has."""
        self._wake()
        self._proven = None
        self._child.close()

    async def rows(self, body: bytes, stream: StreamDefinition, source: str, folder: str | None = None) -> Rows:
        """What a file holds. folder: of the series whose rows it may hold alone. Raises InvalidInput, and ProcessDied
        when no child can be had at all."""
        content = await self.unpacked(unpack, Packed(body, stream, source, folder))
        if content.refused:
            first = content.sentence(content.refusals[0])
            log.warning("rows left out: %s", first, extra={"file": source, "count": content.refused})
        if content.absent:
            log.warning("columns are missing in a file", extra={"file": source, "columns": list(content.absent)})
        return content.rows

    async def futures(
        self, body: bytes, stream: StreamDefinition, source: str, folder: str | None = None
    ) -> FutureRows:
        """What a file of futures holds; see `rows`."""
        return await self.unpacked(unpack_futures, Packed(body, stream, source, folder))

    async def unpacked(self, unpacking: Callable[[Packed, Means], T], packed: Packed) -> T:
        """What `unpacking` makes of a file in the child. Raises InvalidInput, and ProcessDied as `rows` does."""
        # One at a time: who dies must die of its own file.
        async with self._one:
            self._wake()
            for _ in range(TRIES):
                await self._prove()
                with suppress(ProcessDied):
                    return await self._child.run(unpacking, packed, self._means)
        raise InvalidInput(too_much(packed.source, self._means))

    async def _prove(self) -> None:
        """Once for every child. Raises ProcessDied."""
        if self._proven is not None and self._proven == self._child.pid:
            return
        try:
            await self._child.run(prove)
        except MemoryError as error:
            memory = self._means.memory
            raise ProcessDied(f"found no room in {memory} bytes to unpack the smallest file, expected some") from error
        self._proven = self._child.pid
