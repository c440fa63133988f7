"""From rows to records, or to refusals that name row, column, found and expected."""

from datetime import UTC, datetime
from typing import Any

import pytest

from driftline.messages import Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.reading.refusals import Refusal
from driftline.streams.reading.rows import RowReader

STREAM = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nfeatures: {x: level}\n", "a.yaml")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
GOOD = {"when": "2015-01-01T01:00:00+01:00", "id": "k", "y": 1, "x": None}


def check(row: object, *, stream: StreamDefinition = STREAM, text: bool = False) -> Any:
    """A record, or a refusal."""
    taken = RowReader(stream).read([row], NOW, text=text)
    return (taken.records + taken.refusals)[0]


def test_a_good_row_is_a_record():
    assert check(GOOD) == Record("a", "k", 1420070400000, {"y": 1.0, "x": None}, NOW)


@pytest.mark.parametrize(
    ("change", "column", "found", "expected"),
    [
        ({"y": "1"}, "y", "'1'", "a number between"),
        ({"y": 10**400}, "y", "1000", "a number between"),
        ({"y": float("inf")}, "y", "inf", "a number between"),
        ({"y": [1]}, "y", "[1]", "a number between"),
        ({"when": "yesterday"}, "when", "'yesterday'", "a time such as 2014-01-01T01:00:00+01:00"),
        ({"when": "2015-01-01T01:00:00"}, "when", "'2015-01-01T01:00:00'", "with a zone"),
        ({"when": 86400}, "when", "86400", "a time such as"),
        ({"when": True}, "when", "True", "a time such as"),
        ({"when": float("nan")}, "when", "nan", "a time such as"),
        ({"when": 10**400}, "when", "1000", "a time such as"),
        ({"when": "03/04/2026 10:00"}, "when", "'03/04", "`time.format` in the stream definition, since day or month"),
        ({"when": "1900-01-01T00:00:00Z"}, "when", "'1900", "between the years 1970 and 2100"),
        ({"when": "0001-01-01T00:00:00+14:00"}, "when", "'0001", "between the years 1970 and 2100"),
        ({"id": ""}, "id", "''", "a name of 1 to 200 printable characters"),
        ({"id": "a\nb"}, "id", "'a\\nb'", "a name of 1 to 200 printable characters"),
        ({"id": 1.5}, "id", "1.5", "a name of"),
        ({"id": "k" * 201}, "id", "'kkk", "a name of"),
    ],
)
def test_a_wrong_row_is_refused_by_name(change: dict[str, object], column: str, found: str, expected: str):
    refusal = check(GOOD | change)
    assert isinstance(refusal, Refusal)
    assert (refusal.row, refusal.column) == (1, column)
    assert refusal.value.startswith(found)
    assert expected in refusal.expected
    assert len(refusal.value) < 100


GROUPED = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\ngroup: site\n", "a.yaml")


@pytest.mark.parametrize("group", ["", None, 1.5, True, "a\nb", "g" * 201])
def test_a_wrong_group_is_refused_as_a_key_would_be(group: object):
    refusal = check({"when": "2015-01-01T01:00:00+01:00", "id": "k", "y": 1, "site": group}, stream=GROUPED)
    assert (refusal.column, refusal.expected) == ("site", "a name of 1 to 200 printable characters")
    assert len(refusal.value) < 100


def test_a_missing_group_column_is_named():
    refusal = check({"when": "2015-01-01T01:00:00+01:00", "id": "k", "y": 1}, stream=GROUPED)
    assert refusal == Refusal(1, "site", "nothing", "this column; the row has when, id, y")


def test_a_column_that_a_row_lacks_is_a_missing_value():
    assert check({name: value for name, value in GOOD.items() if name != "x"}).values == {"y": 1.0, "x": None}
    assert check({name: value for name, value in GOOD.items() if name != "y"}).values == {"y": None, "x": None}


def test_a_row_of_which_nothing_was_measured_is_refused_with_what_it_has():
    refusal = check({"when": GOOD["when"], "id": "k", "linkquality": 85})
    assert refusal == Refusal(1, "y", "nothing", "one of y, x at least; the row has when, id, linkquality")


def test_fields_that_nothing_names_are_ignored_and_counted_or_refused():
    rows = [GOOD | {"battery": 97, "update": {"state": "idle"}}, GOOD | {"battery": 96}]
    taken = RowReader(STREAM).read(rows, NOW, text=False)
    assert taken.ignored == {"battery": 2, "update": 1}
    assert [record.values for record in taken.records] == [{"y": 1.0, "x": None}] * 2
    strict = STREAM.model_copy(update={"unknown": "refuse"})
    assert check(rows[1], stream=strict) == Refusal(1, "battery", "a column of this name", "only id, when, x, y")


def test_a_row_that_is_no_object_is_refused():
    assert check([1, 2]).expected == "an object of column names and values"


def test_text_is_a_number_only_where_numbers_are_written_as_text():
    assert check(GOOD | {"y": "1.5"}, text=True).values["y"] == 1.5
    assert check(GOOD | {"y": " +1.5e-1 "}, text=True).values["y"] == 0.15
    for wrong in (
        "inf",
        "-Infinity",
        "1,5",
        "x",
        "1_0",
        "\uff11\uff12",
        "٣",
        "1\n",
        "\x1f1",
        "\u20031",
        "0x10",
        "1e400",
        "1 0",
    ):
        assert isinstance(check(GOOD | {"y": wrong}, text=True), Refusal)


def test_a_zone_in_the_definition_stands_for_times_without_one():
    paris = parse("name: a\ntime: {column: when, period: 1h, zone: Europe/Paris}\ntarget: y\n", "a.yaml")
    assert check({"when": "2015-07-01T02:00:00", "y": 1}, stream=paris).t == 1435708800000


def test_a_key_may_be_a_whole_number_and_a_single_series_has_none():
    assert check(GOOD | {"id": 7}).key == "7"
    single = parse("name: a\ntime: {column: when, period: 1h}\ntarget: y\n", "a.yaml")
    assert check({"when": "2015-07-01T02:00:00Z", "y": 1}, stream=single).key == "all"


def test_rows_are_numbered_from_one():
    taken = RowReader(STREAM).read([GOOD, GOOD | {"y": "x"}, GOOD, 5], NOW, text=False)
    assert [refusal.row for refusal in taken.refusals] == [2, 4]
    assert list(taken.numbers) == [1, 3]


@pytest.mark.parametrize(
    ("when", "kind"), [("13:00:00Z", Record), ("13:00:00.001Z", Refusal), ("14:00:00+01:00", Record)]
)
def test_a_record_may_be_ahead_of_the_clock_by_so_much_and_no_more(when: str, kind: type[Record | Refusal]):
    assert isinstance(check(GOOD | {"when": f"2026-03-01T{when}"}), kind)


def test_a_record_from_the_future_is_told_both_times():
    refusal = check(GOOD | {"when": "2099-12-31T01:00:00+01:00"})
    assert (refusal.column, refusal.value) == ("when", "'2099-12-31T00:00:00.000Z'")
    assert refusal.expected == (
        "at most 2026-03-01T13:00:00.000Z: the clock here shows 2026-03-01T12:00:00.000Z, and time.ahead is 3600 s"
    )


def test_no_length_of_time_is_too_long_to_compare_with():
    patient = parse("name: a\ntime: {column: when, period: 1h, ahead: 99999999999d}\ntarget: y\n", "a.yaml")
    assert isinstance(check({"when": "2099-12-31T00:00:00Z", "y": 1}, stream=patient), Record)
