"""Tables: CSV and Parquet with the columns that a definition names."""

import io
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftline.errors import InvalidInput
from driftline.messages import Record
from driftline.streams import rows as rows_in_arrays
from driftline.streams.bounds import TableBounds
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.gridded.takes import mean_angle
from driftline.streams.reading.bodies import csv_rows, json_rows, ndjson_rows
from driftline.streams.reading.rows import RowReader
from driftline.streams.rows import Rows, concatenate
from driftline.streams.tables import decode, encode, examine, read_file

STREAM = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\n", "a.yaml")
NAIVE = parse("name: a\ntime: {column: when, period: 1h, zone: Europe/Paris}\ntarget: y\n", "a.yaml")
GROUPED = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\ngroup: site\n", "a.yaml")
TOGETHER = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\ngroup: all\n", "a.yaml")
CSV = b"when,id,y,other\n2015-01-01T01:00:00+01:00,k,1.5,z\n2015-01-01T02:00:00+01:00,k,,z\n"


def test_csv_is_read_by_the_definitions_columns():
    rows = decode(CSV, STREAM, "a.csv")
    assert rows.t.tolist() == [1420070400000, 1420074000000]
    assert rows.keys.tolist() == ["k", "k"]
    np.testing.assert_array_equal(rows.values, [[1.5], [np.nan]])


def test_times_without_a_zone_are_in_the_definitions_zone():
    rows = decode(b"when,y\n2015-07-01 02:00:00,1\n", NAIVE, "a.csv")
    assert (rows.t.tolist(), rows.keys.tolist()) == ([1435708800000], ["all"])


def test_truth_is_a_number_or_missing_as_its_words_are():
    table = pa.table({"when": ["2015-01-01T00:00:00Z"] * 3, "id": ["a", "b", "c"], "y": [True, False, None]})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    for missing, off in (("", 0.0), ("\ncolumns: {y: {missing: [off]}}", np.nan)):
        stream = parse(f"name: a\ntime: {{column: when, period: 1h}}\nkey: id\ntarget: y{missing}\n", "a.yaml")
        rows = decode(sink.getvalue(), stream, "a.parquet")
        np.testing.assert_array_equal(rows.values, [[1.0], [off], [np.nan]])


def test_parquet_gives_back_what_was_written():
    rows = decode(CSV, STREAM, "a.csv")
    again = decode(encode(rows, STREAM), STREAM, "a.parquet")
    assert again.t.tolist() == rows.t.tolist()
    np.testing.assert_array_equal(again.values, rows.values)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"when,y\n2015-01-01T00:00:00Z,1\n", "a.csv: found no column 'id' among ['when', 'y'], expected"),
        (b"when,id,y\n2015-01-01T00:00:00Z,k,x\n", "a.csv: line 2: column 'y': found 'x', expected a number between"),
        (b"when,id,y\nyesterday,k,1\n", "a.csv: line 2: column 'when': found 'yesterday', expected a time such as"),
        (
            b"when,id,y\n2015-01-01T00:00:00,k,1\n",
            "a time such as 2014-01-01T01:00:00+01:00, with a zone, or a zone in the stream definition",
        ),
        (b"PAR1garbage", "a.csv: neither Parquet nor CSV"),
        (b"", "a.csv: found one line alone, expected one with the columns' names"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, message: str):
    with pytest.raises(InvalidInput) as error:
        decode(body, STREAM, "a.csv")
    assert message in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidInput, match=r"none\.csv: can't be read: No such file"):
        read_file(tmp_path / "none.csv", STREAM)


def test_series_are_in_order_of_time_and_a_repeated_time_stands_once():
    rows = Rows(np.array(["k", "m", "k", "k"]), np.array([2, 1, 1, 2]), np.array([[1.0], [2.0], [3.0], [4.0]]))
    series = rows.by_key()
    assert series["k"].t.tolist() == [1, 2]
    assert series["k"].values[:, 0].tolist() == [3.0, 1.0]


def test_short_keys_tell_the_series_apart_and_keep_their_order():
    names = np.array([f"site/{'x' * 40}/{n:02d}" for n in range(12)])
    rows = Rows(np.tile(names[::-1], 3), np.repeat([0, 1, 2], 12), np.arange(36.0)[:, None])
    short = rows.with_short_keys()
    assert short.keys.dtype == np.dtype("<U2")
    ours, theirs = list(short.by_key().values()), list(rows.by_key().values())
    assert [part.values.tolist() for part in ours] == [part.values.tolist() for part in theirs]


def test_keys_are_told_apart_part_by_part_as_they_are_at_once(monkeypatch: pytest.MonkeyPatch):
    keys = np.random.default_rng(0).permutation(np.repeat([f"k{n}" for n in range(30)], 10))
    rows = Rows(keys, np.arange(300), np.arange(300.0)[:, None])
    at_once = {key: part.values.tolist() for key, part in rows.by_key().items()}
    monkeypatch.setattr(rows_in_arrays, "ENCODED_AT_ONCE", 7)
    assert {key: part.values.tolist() for key, part in rows.by_key().items()} == at_once
    assert len(at_once) == 30


def sites(*rows: str) -> bytes:
    """CSV of key, group and y, an hour apart."""
    lines = [f"2015-01-01T{hour:02d}:00:00Z,{row}" for hour, row in enumerate(rows)]
    return "\n".join(["when,id,site,y", *lines, ""]).encode()


def test_groups_are_read_written_and_kept():
    rows = decode(sites("k,north,1", "m,7,2", "k,north,3"), GROUPED, "a.csv")
    assert rows.groups.tolist() == ["north", "7", "north"]
    again = decode(encode(rows, GROUPED), GROUPED, "a.parquet")
    assert again.groups.tolist() == rows.groups.tolist()
    assert again.take(slice(1, 3)).groups.tolist() == ["7", "north"]
    assert concatenate([again, again]).by_key()["m"].groups.tolist() == ["7"]


def test_without_a_column_all_rows_have_one_group():
    assert decode(CSV, STREAM, "a.csv").groups.tolist() == ["", ""]
    assert decode(CSV, TOGETHER, "a.csv").groups.tolist() == ["all", "all"]
    assert Rows(np.array(["k"]), np.array([1]), np.array([[1.0]])).groups.tolist() == [""]
    assert decode(encode(decode(CSV, TOGETHER, "a.csv"), STREAM), TOGETHER, "a.parquet").groups.tolist() == ["all"] * 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (CSV, "a.csv: found no column 'site' among ['when', 'id', 'y', 'other'], expected"),
        (sites("k,,1"), "a.csv: line 2: column 'site': found '', expected a name of 1 to 200 printable characters"),
        (sites(",north,1"), "a.csv: line 2: column 'id': found '', expected a name of 1 to 200 printable characters"),
        (
            sites("k,north,1", "m,south,1", "m,north,1"),
            "a.csv: column 'site': found groups 'north' and 'south' of key 'm', expected one group for a key",
        ),
    ],
)
def test_a_wrong_group_is_named(body: bytes, message: str):
    with pytest.raises(InvalidInput) as error:
        decode(body, GROUPED, "a.csv")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("rows", "bounds", "message"),
    [
        ([f"k,{'g' * 50},1"], TableBounds(key_length=40), "found 50 characters in a group, expected at most 40"),
        (["k,a,1", "m,b,1", "k,a,1"], TableBounds(keys=1), "found 2 series, expected at most 1"),
        # Each has its own width: 8 bytes of time and 8 of value, 4 for each letter of the longest key and group.
        ([f"k,{'g' * 50},1", "m,b,1"], TableBounds(unpacked=400), "found 440 unpacked bytes, expected at most 400"),
    ],
)
def test_groups_are_bounded_as_keys_are(rows: list[str], bounds: TableBounds, message: str):
    with pytest.raises(InvalidInput) as error:
        decode(sites(*rows), GROUPED, "a.csv", bounds)
    assert message in str(error.value)


def test_of_a_series_that_moved_the_rows_in_its_newest_group_are_kept():
    keys, groups = np.array(["k", "k", "m", "k"]), np.array(["b", "a", "a", "b"])
    rows = Rows(keys, np.array([3, 1, 1, 2]), np.zeros((4, 1)), groups)
    kept = rows.in_newest_groups()
    assert (kept.keys.tolist(), kept.t.tolist()) == (["k", "m", "k"], [3, 1, 2])
    assert kept.in_newest_groups() is kept


def by_the_door(body: bytes, stream: StreamDefinition) -> list[Record]:
    reader = RowReader(stream)
    raw = csv_rows(body, stream.csv, reader.wanted)
    return reader.read(raw.rows, 0.0, text=True, decimal=raw.decimal).records


@pytest.mark.parametrize(
    ("body", "keys", "values"),
    [
        ("t, k, y\n2026-03-01T00:00:00Z, a, 1\n2026-03-01T00:10:00Z,a , 2\n", ["a", "a"], [1, 2]),
        ("t;k;y\n2026-03-01T00:00:00Z;a;1.204,50\n2026-03-01T00:10:00Z;a;1.204\n", ["a", "a"], [1204.5, 1204]),
        ("t;k;y\n2026-03-01T00:00:00Z;a;1.204\n2026-03-01T00:10:00Z;a;2.5\n", ["a", "a"], [1.204, 2.5]),
    ],
)
def test_blanks_and_thousands_mean_the_same_in_a_file_and_at_the_door(body: str, keys: list[str], values: list[float]):
    stream = parse("name: s\ntime: {column: t, period: 10min}\nkey: k\ntarget: y\n", "s.yaml")
    rows = decode(body.encode(), stream, "f.csv")
    assert (rows.keys.tolist(), rows.values[:, 0].tolist()) == (keys, values)
    assert [(record.key, record.values["y"]) for record in by_the_door(body.encode(), stream)] == list(
        zip(keys, values, strict=True)
    )


@pytest.mark.parametrize("body", ['{"t": "2026-03-01T00:00:00Z", "y": 1}', '[{"t": "2026-03-01T00:00:00Z", "y": 1}]'])
def test_json_may_begin_with_a_byte_order_mark(body: str):
    stream = parse("name: s\ntime: {column: t, period: 10min}\ntarget: y\n", "s.yaml")
    marked = b"\xef\xbb\xbf" + body.encode()
    assert len(decode(marked, stream, "f.json")) == 1
    assert json_rows(marked).rows == json_rows(body.encode()).rows
    if body.startswith("{"):
        assert ndjson_rows(marked).rows == ndjson_rows(body.encode()).rows


def test_a_short_line_is_said_by_its_number_and_utf_16_by_its_mark():
    stream = parse("name: s\ntime: {column: t, period: 10min}\ntarget: y\n", "s.yaml")
    with pytest.raises(InvalidInput, match=r"^f\.csv: broken CSV in line 3: found 1 fields, expected 2"):
        decode(b"t,y\n2026-03-01T00:00:00Z,1\n2026\n", stream, "f.csv")
    with pytest.raises(InvalidInput, match=r"such as utf-16$"):
        decode("t,y\n2026-03-01T00:00:00Z,1\n".encode("utf-16"), stream, "f.csv")


ON_GRID = "name: s\ntime: {{column: t, period: {period}, zone: Europe/Berlin}}\nkey: k\ntarget: y\ngrid: {{}}\n"


@pytest.mark.parametrize(
    ("minutes", "period"),
    [(n, period) for n in (1, 5, 10, 15, 20, 30, 60) for period in (10, 15, 30, 60, 120, 1440) if n <= period],
)
def test_readings_for_a_grid_are_told_apart_in_the_hour_that_comes_twice(minutes: int, period: int):
    """However often they come within a period."""
    stream = parse(ON_GRID.format(period=f"{period}min"), "s.yaml")
    begin = datetime(2026, 10, 24, 22, tzinfo=UTC)
    times = [begin + timedelta(minutes=n) for n in range(0, 360, minutes)]
    local = [time.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None).isoformat() for time in times]
    body = "t,k,y\n" + "".join(f"{time},a,1\n" for time in local)
    meant = [round(time.timestamp() * 1000) for time in times]
    assert examine(body.encode(), stream, "f.csv").rows.t.tolist() == meant
    assert [record.t for record in by_the_door(body.encode(), stream)] == meant


def test_the_mean_of_directions_is_below_a_full_circle():
    assert mean_angle({0: 350.0, 1: 10.0}) == pytest.approx(0.0, abs=1e-9)
    assert mean_angle({0: 340.0, 1: 10.0}) == pytest.approx(355.0)
