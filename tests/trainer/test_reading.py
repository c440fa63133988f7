"""Whatever a file says of itself or unpacks to: it is refused in a sentence, and costs no memory."""

import asyncio
import os
import re
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import stamina

from driftline.errors import InvalidInput
from driftline.streams.bounds import MEBIBYTE, TableBounds
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_trainer.reading import Reading
from driftline_trainer.unpacking import Means
from tests.trainer import bombs
from tests.trainer.bombs import parquet, table

PATIENCE_S = 60
MEMORY = 400 * MEBIBYTE
CHILD = 130 * MEBIBYTE
"""What the child takes for itself."""


def memory() -> int:
    """Bytes that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def largest(reading: Reading) -> int:
    """Bytes that the child had at most at once."""
    status = Path(f"/proc/{reading.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


@pytest.fixture(scope="module")
def reading() -> Iterator[Reading]:
    made = Reading(Means(TableBounds(), MEMORY, 20))
    yield made
    made.close()


async def refused(reading: Reading, stream: StreamDefinition, body: bytes, folder: str | None = None) -> str:
    with pytest.raises(InvalidInput) as error:
        await reading.rows(body, stream, "the file", folder)
    text = str(error.value)
    assert text.startswith("the file: ")
    assert len(text) < 1000
    return text


async def test_a_file_that_unpacks_to_14_gb_is_refused_by_its_footer(reading: Reading, quick: StreamDefinition):
    body = bombs.of_billions(quick, groups=200, rows=1_000_000)
    assert len(body) < 8 * MEBIBYTE
    before = memory()
    said = await refused(reading, quick, body)
    assert said == "the file: found 200000000 rows, expected at most 5000000"
    assert memory() - before < 64 * MEBIBYTE


async def test_a_key_of_100_mb_is_refused(reading: Reading, quick: StreamDefinition):
    body = bombs.with_a_key_of(quick, 100 * MEBIBYTE)
    assert len(body) < MEBIBYTE
    await refused(reading, quick, body)
    body = bombs.with_a_key_of(quick, 10 * MEBIBYTE)
    assert "found 10485760 characters in a key, expected at most 200" in await refused(reading, quick, body)


async def test_what_lies_in_its_metadata_ends_at_the_childs_limit_and_the_next_file_is_read(reading, quick):
    """1 MB in each of 10,000 rows, of which the footer counts one: 10 GB."""
    body = bombs.of_one_long_text(quick, MEBIBYTE, 10_000)
    assert len(body) < MEBIBYTE
    before = memory()
    assert "expected at most 419430400 bytes of memory and 20 s of a processor" in await refused(reading, quick, body)
    assert memory() - before < 64 * MEBIBYTE
    assert len(await reading.rows(parquet(table(quick, 300)), quick, "good")) == 300
    assert largest(reading) < MEMORY + CHILD


async def test_one_row_group_that_says_billions_is_refused(reading: Reading, quick: StreamDefinition):
    body = bombs.with_a_lying_footer(parquet(table(quick, 300_000)), said=2_000_000, truth=300_000)
    await refused(reading, quick, body)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"Ot_avg": pa.array([[1.0, 2.0]] * 300)}, "column 'Ot_avg': found nested values, expected one in a row"),
        ({"Ot_avg": pa.array(["warm"] * 300)}, "column 'Ot_avg': found string, expected numbers"),
        ({"Ot_avg": pa.array([np.inf] * 300)}, "column 'Ot_avg': found inf in row 1, expected numbers between"),
        ({"Ot_avg": pa.array([1e300] * 300)}, "column 'Ot_avg': found 1e+300 in row 1, expected numbers between"),
        ({"Date_time": pa.array(range(300))}, "column 'Date_time': found int64, expected times such as"),
        ({"Date_time": pa.nulls(300, pa.timestamp("ms", tz="UTC"))}, "found 300 empty times, expected a time in every"),
        (
            {"Date_time": pa.array([2**62] * 300, pa.timestamp("us", tz="UTC"))},
            "expected times between the years 1900 and 2100",
        ),
        (
            {"Date_time": pa.array([5_000_000_000_000] * 300, pa.timestamp("ms"))},
            "expected times between the years 1900 and 2100",
        ),
        ({"Wind_turbine_name": pa.array(["R80711"] * 299 + [None])}, "found 1 empty keys, expected a key in every row"),
        ({"Wind_turbine_name": pa.array(["other"] * 300)}, "found key 'other', expected that of folder 'R80711' alone"),
        ({"Wind_turbine_name": pa.array([b"\xff"] * 300)}, "the file: "),
        ({"Wind_turbine_name": pa.array(map(str, range(300)))}, "found key '0', expected that of folder 'R80711'"),
    ],
)
async def test_what_nobody_could_learn_from_is_refused(reading: Reading, quick, columns, message: str):
    made = table(quick, 300)
    for name, column in columns.items():
        made = made.set_column(made.column_names.index(name), name, column)
    assert message in await refused(reading, quick, parquet(made), "R80711")


@pytest.mark.parametrize(
    "body", [b"", b"PAR1", b"PAR1" + bytes(100) + b"\xff\xff\xff\x7fPAR1", b"\0" * 1000, b"\xff\xfe"]
)
async def test_what_is_no_table_is_refused(reading: Reading, quick: StreamDefinition, body: bytes):
    await refused(reading, quick, body)


async def test_no_rows_a_broken_page_and_missing_columns_are_refused(reading: Reading, quick: StreamDefinition):
    assert "found no rows, expected some" in await refused(reading, quick, parquet(table(quick, 0)))
    good = parquet(table(quick, 50_000, **{quick.target: pa.array(np.random.default_rng(0).normal(size=50_000))}))
    assert "neither Parquet nor CSV" in await refused(reading, quick, bombs.broken_in_the_middle(good))
    assert "found no column 'Ot_avg'" in await refused(reading, quick, parquet(table(quick, 9).drop([quick.target])))


async def test_a_csv_is_held_to_lines_and_rows_too(quick: StreamDefinition):
    reading = Reading(Means(TableBounds(rows=10, line=200, columns=20), MEMORY, 20))
    head = ",".join([quick.time.column, quick.key, *quick.columns])
    line = ",".join(["2015-01-01T01:00:00+01:00", "k", *["1"] * len(quick.columns)])
    assert len(await reading.rows("\n".join([head] + [line] * 10).encode(), quick, "the file")) == 10
    long = "\n".join([head, line.replace("k", "k" * 300)])
    assert "bytes in a line, expected at most 200" in await refused(reading, quick, long.encode())
    assert "found 11 rows, expected at most 10" in await refused(
        reading, quick, "\n".join([head] + [line] * 11).encode()
    )
    assert "lines, expected at most" in await refused(reading, quick, "\n".join([head] + [line] * 99).encode())
    infinite = "\n".join([head, line.replace(",1", ",inf")])
    assert "found inf, expected a number between" in await refused(reading, quick, infinite.encode())
    reading.close()


async def test_a_child_that_is_killed_from_outside_is_no_files_fault(reading: Reading, quick: StreamDefinition):
    good = parquet(table(quick, 300))
    await reading.rows(good, quick, "the file")
    for _ in range(3):
        running = asyncio.create_task(reading.rows(good, quick, "the file"))
        await asyncio.sleep(0)
        os.kill(reading.pid, signal.SIGKILL)
        assert len(await running) == 300


async def test_a_child_that_rests_reads_the_next_file_and_ends_when_none_comes(quick: StreamDefinition):
    reading, good = Reading(Means(TableBounds(), MEMORY, 20)), parquet(table(quick, 300))
    await reading.rows(good, quick, "the file")
    first = reading.pid
    reading.rest(3600)
    await reading.rows(good, quick, "the file")
    assert reading.pid == first
    reading.rest(0)
    async for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_max=0.1):
        with attempt:
            assert reading.pid is None
    assert len(await reading.rows(good, quick, "the file")) == 300
    reading.close()


async def test_a_file_of_many_keys_is_split_at_once(temperature: StreamDefinition):
    keys = np.array([f"key {n % 10_000}" for n in range(300_000)])
    rows = Rows(keys, np.arange(300_000), np.zeros((300_000, 1)))
    parts = rows.by_key()
    assert (len(parts), len(parts["key 7"])) == (10_000, 30)
    assert parts["key 7"].t.tolist() == list(range(7, 300_000, 10_000))


async def test_of_a_history_the_rows_that_can_not_be_used_are_left_out_and_named(
    reading: Reading, quick: StreamDefinition, caplog: pytest.LogCaptureFixture
):
    head = ",".join([quick.time.column, quick.key, *quick.columns])
    rest = ["1"] * (len(quick.columns) - 1)
    lines = [",".join([f"2015-01-01T0{n}:00:00Z", "k", value, *rest]) for n, value in enumerate(["1", "warm", "NaN"])]
    rows = await reading.rows("\n".join([head, *lines]).encode(), quick, "the file")
    np.testing.assert_array_equal(rows.values[:, 0], [1, np.nan])
    (record,) = caplog.records
    assert record.getMessage().startswith(
        f"rows left out: line 3: column {quick.target!r}: found 'warm', expected a number"
    )
