"""A server whose objects never end, and which knows how much of one it could send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

PIECE = bytes(64 * 1024)


@dataclass
class Endless:
    """Answers every GET. `head`: how it announces the body."""

    head: bytes
    endpoint: str = ""
    sent: int = 0
    left: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """Is released for each connection that the client has closed."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Type: x/y\r\n' + self.head + b"\r\n\r\n")
        chunk = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if b"chunked" in self.head else PIECE
        try:
            while True:
                writer.write(chunk)
                await writer.drain()
                self.sent += len(chunk)
        except ConnectionError:
            self.left.release()
            writer.transport.abort()


@asynccontextmanager
async def endless(head: bytes) -> AsyncIterator[Endless]:
    made = Endless(head)
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()
