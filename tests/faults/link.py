"""A network link between an edge and its store that can be cut, now or in the middle of an answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CHUNK = 512


class Link:
    """Forwards TCP from `port` to another port of this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_up = True
        self._answer_limit: int | None = None
        self.cuts = 0
        self.port = 0

    def cut(self) -> None:
        """Drops every connection and takes no new one."""
        self.is_up = False
        self._drop()

    def cut_after(self, size: int) -> None:
        """From now on cuts every connection when so many bytes of answers came over it."""
        self._answer_limit = size
        self._drop()

    def mend(self) -> None:
        self.is_up, self._answer_limit = True, None

    def _drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_up:
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ends = {writer, there_writer}
        self._writers |= ends
        try:
            up = asyncio.create_task(self._pump(reader, there_writer, None))
            down = asyncio.create_task(self._pump(there_reader, writer, self._answer_limit))
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            up.cancel()
            down.cancel()
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
        sent = 0
        with suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                if limit is not None and sent + len(data) > limit:
                    writer.write(data[: limit - sent])
                    await writer.drain()
                    self.cuts += 1
                    return
                writer.write(data)
                await writer.drain()
                sent += len(data)


@asynccontextmanager
async def linked(target: int) -> AsyncIterator[Link]:
    link = Link(target)
    server = await asyncio.start_server(link.accept, "127.0.0.1", 0)
    link.port = server.sockets[0].getsockname()[1]
    try:
        yield link
    finally:
        server.close()
        link.cut()
