"""The link of the deployments' comparison is as long as it says, and counts what goes over it."""

import asyncio
import time

import pytest

from driftline.errors import Unavailable
from tests.bench.toxiproxy import Line, Traffic, toxiproxy


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Each line twice."""
    while line := await reader.readline():
        writer.write(line * 2)
    writer.close()


async def test_what_goes_over_the_link_is_delayed_each_way_and_counted(tmp_path):
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        with toxiproxy(tmp_path, Line(delay_ms=40, mbit=20)) as link:
            reader, writer = await asyncio.open_connection("127.0.0.1", link.link(server.sockets[0].getsockname()[1]))
            began = time.perf_counter()
            writer.write(b"there\n")
            assert await reader.readline() == b"there\n"
            taken = time.perf_counter() - began
            assert await reader.readline() == b"there\n"
            assert await asyncio.to_thread(link.traffic) == Traffic(upstream=6, downstream=12)
            writer.close()
    except Unavailable as error:
        pytest.skip(str(error))
    finally:
        server.close()
    assert 0.08 <= taken < 1
