"""Tables: CSV and Parquet with the columns that a definition names."""

import numpy as np
import pytest

from driftline.errors import InvalidInput
from driftline.streams import tables
from driftline.streams.definition import parse
from driftline.streams.tables import Rows, decode, encode, read_file

STREAM = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\n", "a.yaml")
NAIVE = parse("name: a\ntime: {column: when, period: 1h, zone: Europe/Paris}\ntarget: y\n", "a.yaml")
CSV = b"when,id,y,other\n2015-01-01T01:00:00+01:00,k,1.5,z\n2015-01-01T02:00:00+01:00,k,,z\n"


def test_csv_is_read_by_the_definitions_columns():
    rows = decode(CSV, STREAM, "a.csv")
    assert rows.t.tolist() == [1420070400000, 1420074000000]
    assert rows.keys.tolist() == ["k", "k"]
    np.testing.assert_array_equal(rows.values, [[1.5], [np.nan]])


def test_times_without_a_zone_are_in_the_definitions_zone():
    rows = decode(b"when,y\n2015-07-01 02:00:00,1\n", NAIVE, "a.csv")
    assert (rows.t.tolist(), rows.keys.tolist()) == ([1435708800000], ["all"])


def test_parquet_gives_back_what_was_written():
    rows = decode(CSV, STREAM, "a.csv")
    again = decode(encode(rows, STREAM), STREAM, "a.parquet")
    assert again.t.tolist() == rows.t.tolist()
    np.testing.assert_array_equal(again.values, rows.values)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"when,y\n2015-01-01T00:00:00Z,1\n", "a.csv: found no column 'id' among ['when', 'y'], expected"),
        (b"when,id,y\n2015-01-01T00:00:00Z,k,x\n", "a.csv: column 'y': found string, expected numbers"),
        (b"when,id,y\nyesterday,k,1\n", "a.csv: column 'when': found string, expected times such as"),
        (b"when,id,y\n2015-01-01T00:00:00,k,1\n", "found times without a zone, expected one, or a zone in the"),
        (b"PAR1garbage", "a.csv: neither Parquet nor CSV"),
        (b"", "a.csv: neither Parquet nor CSV"),
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
    monkeypatch.setattr(tables, "ENCODED_AT_ONCE", 7)
    assert {key: part.values.tolist() for key, part in rows.by_key().items()} == at_once
    assert len(at_once) == 30
