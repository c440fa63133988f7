"""Rows that lie in a list inside of an object, days that have a column of their own, and units behind numbers."""

import pytest

from driftline.streams import tables
from driftline.streams.data_sections import ColumnSource
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.reading.nested import count_rows, spread
from driftline.streams.reading.paths import ABSENT, FieldPath
from driftline.streams.reading.refusals import UnusableError
from driftline.streams.reading.rows import RowReader
from driftline.streams.reading.times import joined
from driftline.streams.reading.values import NumberRule


def stream(more: str) -> StreamDefinition:
    return parse(f"name: a\ntarget: y\n{more}\n", "a.yaml")


def test_each_element_has_the_fields_around_it_its_own_first():
    row = {"id": "k", "unit": "C", "data": {"unit": "F", "samples": [{"y": 1}, {"y": 2, "unit": "K"}, "end"]}}
    assert spread(row, "data.samples") == [
        {"id": "k", "unit": "F", "y": 1},
        {"id": "k", "unit": "K", "y": 2},
    ]
    assert count_rows([row, row, "x"], "data.samples") == 5


def test_an_element_that_is_a_list_has_its_places_as_names():
    row = {"results": [{"tags": {"room": "attic"}, "values": [[1, 2.5], [2, None]]}]}
    first, second = spread(row, "results[0].values")
    assert first == {"tags": {"room": "attic"}, "0": 1, "1": 2.5}
    assert second == {"tags": {"room": "attic"}, "0": 2, "1": None}


@pytest.mark.parametrize("row", [{"y": 1}, {"data": {"samples": 7}}, {"data": []}, 3, None])
def test_a_row_without_the_list_stays_as_it_is(row: object):
    assert spread(row, "data.samples") == (row,)
    assert spread(row, None) == (row,)


def test_an_empty_list_holds_no_row():
    assert spread({"samples": []}, "samples") == []


def test_refusals_count_the_rows_of_all_lists():
    reader = RowReader(stream("time: {column: t, period: 1s}\nrows: samples"))
    bodies = [{"samples": [{"t": 1772323200, "y": 1}, {"t": 1772323201, "y": "x"}]}, {"samples": [{"t": "?", "y": 1}]}]
    taken = reader.read(bodies, 0.0, text=False)
    assert [refusal.row for refusal in taken.refusals] == [2, 3]
    assert taken.numbers == [1]


def test_names_with_points_are_written_in_brackets():
    row = {"a.b": {"c": [{"d.e": 5}]}}
    assert FieldPath.of('["a.b"].c[0]["d.e"]').value(row) == 5
    assert FieldPath.of('["a.b"]').value(row) == row["a.b"]
    assert FieldPath.of('["a.b"].x').value(row) is ABSENT
    assert FieldPath.of("Power [kW]").steps == ()
    assert FieldPath.of('["a.b"].c').field == "a.b"


DAYS = "time: {column: Time, date: Date, period: 1min, zone: UTC}"


def test_a_day_in_a_column_of_its_own_is_read_with_the_time():
    reader = RowReader(stream(DAYS))
    taken = reader.read([{"Date": "2026-03-01", "Time": "00:10", "y": 1}], 0.0, text=False)
    assert [record.t for record in taken.records] == [1772323800000]
    assert joined("", "00:10") is None


@pytest.mark.parametrize("lacking", ["Date", "Time"])
def test_half_a_time_is_none(lacking: str):
    row: dict[str, object] = {"Date": "2026-03-01", "Time": "00:10", "y": 1}
    del row[lacking]
    (refusal,) = RowReader(stream(DAYS), arrival=True).read([row], 0.0, text=False).refusals
    assert (refusal.column, refusal.value) == (lacking, "nothing")


def test_of_a_file_with_days_the_empty_and_the_broken_are_refused_with_their_lines():
    body = b"Date,Time,y\n2026-03-01,00:10,1\n,00:20,2\n2026-03-01,,3\n2026-03-01,noon,4\n"
    content = tables.examine(body, stream(DAYS), "a.csv")
    assert [refusal.row for refusal in content.refusals] == [3, 4, 5]
    assert content.rows.t.tolist() == [1772323800000]


@pytest.mark.parametrize(("text", "number"), [("21.5 °C", 21.5), ("-3°c", -3.0), ("°C", None), ("n/a °C", None)])
def test_a_unit_behind_a_number_is_read_over(text: str, number: float | None):
    rule = NumberRule.of("y", ColumnSource(unit="°C"))
    assert rule.number(text, text=True) == number


def test_another_unit_is_not():
    with pytest.raises(UnusableError):
        NumberRule.of("y", ColumnSource(unit="°C")).number("70 °F", text=True)


def test_a_boolean_means_in_json_what_it_means_in_csv():
    rule = NumberRule.of("y", ColumnSource(missing=("false",)))
    assert [rule.number(value, text=False) for value in (True, False)] == [1.0, None]
    assert [rule.number(value, text=True) for value in ("true", "false")] == [1.0, None]
