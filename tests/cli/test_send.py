"""`driftline send` against a real ingest: lines as they come, broken ones told by their numbers, the rest taken."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from driftline.bus.memory import MemoryBus
from driftline.messages import RECORDS
from driftline.store.folder import FolderStore
from driftline.streams.definition_files import parse
from driftline_ingest.app import create_app
from driftline_ingest.settings import IngestSettings
from tests.serving import served

pytestmark = pytest.mark.process
DEFINITION = "name: a\ntime: {column: t, period: 1s}\nkey: id\ntarget: y\n"


@pytest.fixture
async def ingest(tmp_path: Path) -> AsyncIterator[tuple[str, MemoryBus]]:
    bus = MemoryBus(1)
    app = create_app(IngestSettings(), bus, FolderStore(tmp_path / "store"), streams={"a": parse(DEFINITION, "a.yaml")})
    async with served(app) as address:
        yield f"http://{address}", bus


async def started(url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "driftline_cli", "send", "-", "--stream", "a", "--to", url),
        env=os.environ | {"COLUMNS": "200"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def sent(url: str, text: bytes) -> tuple[int, str, list[str]]:
    """The exit code, what was written, and what was complained of, by line."""
    process = await started(url)
    out, err = await process.communicate(text)
    return process.returncode, out.decode().strip(), err.decode().splitlines()


def csv(*rows: str) -> bytes:
    return "\n".join(["t,id,y", *rows, ""]).encode()


def ndjson(*rows: int) -> bytes:
    return b"".join(b'{"t": "2026-01-01T00:00:%02dZ", "id": "k", "y": %d}\n' % (row, row) for row in rows)


async def test_csv_with_broken_lines(ingest: tuple[str, MemoryBus]):
    rows = [f"2026-01-01T00:00:{n:02}Z,k,{n}" for n in range(20)]
    rows[3], rows[7], rows[11] = "noon,k,3", "2026-01-01T00:00:07Z,k,much", '2026-01-01T00:00:11Z,"k,11'
    code, out, err = await sent(ingest[0], csv(*rows))
    assert code == 1
    assert out == "17 accepted, 0 repeated, 0 out of order, 3 refused"
    # The header is line 1.
    assert sorted(int(line.split(":")[0].removeprefix("line ")) for line in err) == [5, 9, 13]


async def test_ndjson_with_broken_lines(ingest: tuple[str, MemoryBus]):
    text = ndjson(1, 2) + b"{broken\n\n" + ndjson(3) + b"\xff\xfe\n" + ndjson(4)
    code, out, err = await sent(ingest[0], text)
    assert (code, out) == (1, "4 accepted, 0 repeated, 0 out of order, 2 refused")
    assert [line.split(":")[0] for line in err] == ["line 3", "line 6"]


async def test_a_line_that_is_too_long_is_told_and_the_next_one_taken(ingest: tuple[str, MemoryBus]):
    code, out, err = await sent(ingest[0], ndjson(1) + b'{"t": "' + b"x" * 300_000 + b'"}\n' + ndjson(2))
    assert (code, out) == (1, "2 accepted, 0 repeated, 0 out of order, 1 refused")
    assert err == ["line 2: found more than 65,536 bytes, expected at most as many"]


async def test_many_lines_and_no_newline_at_the_end(ingest: tuple[str, MemoryBus]):
    rows = [f"{1_767_225_600 + n},k,1" for n in range(3000)]
    code, out, _ = await sent(ingest[0], csv(*rows).rstrip())
    assert (code, out) == (0, "3,000 accepted, 0 repeated, 0 out of order, 0 refused")


@pytest.mark.parametrize("text", [b"", b"\n\n", b"t,id,y\n"])
async def test_nothing_is_no_error(ingest: tuple[str, MemoryBus], text: bytes):
    assert (await sent(ingest[0], text))[:2] == (0, "0 accepted, 0 repeated, 0 out of order, 0 refused")


async def test_each_line_is_sent_soon(ingest: tuple[str, MemoryBus]):
    url, bus = ingest
    process = await started(url)
    process.stdin.write(csv("2026-01-01T00:00:00Z,k,1"))
    async for envelopes in bus.tail(RECORDS):
        if envelopes:
            break  # it came although the input has no end yet
    process.stdin.write(b"2026-01-01T00:00:01Z,k,1\n")
    process.stdin.close()
    out, _ = await process.communicate()
    assert out.decode().startswith("2 accepted")


async def test_an_unknown_stream_ends_at_once(tmp_path: Path):
    app = create_app(
        IngestSettings(),
        MemoryBus(1),
        FolderStore(tmp_path),
        streams={"b": parse(DEFINITION.replace("name: a", "name: b"), "b")},
    )
    async with served(app) as address:
        code, out, err = await sent(f"http://{address}", csv("2026-01-01T00:00:00Z,k,1"))
    assert (code, out) == (1, "")
    assert "ingest says: found stream 'a', expected ?stream= with one of" in " ".join(err)
