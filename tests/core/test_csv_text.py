"""CSV as people have it."""

import pytest

from driftline.streams.data_sections import CsvFormat
from driftline.streams.reading.bodies import Malformed, csv_rows
from driftline.streams.reading.csv_columns import CsvBody
from driftline.streams.reading.csv_text import Wanted, decoded, dialect_of

WANTED = Wanted("time", frozenset({"y", "x"}))


def rows(text: str, **form: object) -> list[object]:
    return list(csv_rows(text.encode(), CsvFormat.model_validate(form), WANTED).rows)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_the_one_that_the_header_has_most_of(separator: str):
    header = f'time{separator}y{separator}"a,b;c"\n'
    assert rows(f"{header}t{separator}1{separator}z\n") == [{"time": "t", "y": "1", "a,b;c": "z"}]


def test_what_the_definition_says_is_not_looked_for():
    assert rows("time,y;x\nt,1;2\n", separator=";") == [{"time,y": "t,1", "x": "2"}]


@pytest.mark.parametrize(
    ("body", "decimal"),
    [
        ("time;y\n1;1,5\n", ","),
        ("time;y\n1;1.234,5\n", ","),
        ("time;y\n1;1\n", "."),
        ("time;y\n1;1.5\n", "."),
        ("time;y\n1;1,5\n2;1.5\n", "."),
        ('time,y\n1,"1,5"\n', "."),
        ("time;z\n1;1,5\n", "."),
    ],
)
def test_a_decimal_comma_is_found_where_nothing_speaks_against_it(body: str, decimal: str):
    assert dialect_of(body, CsvFormat(), WANTED).decimal == decimal


def test_comments_blank_lines_and_preambles_are_no_rows_and_lines_are_counted_all_the_same():
    text = "# a logger\nserial: 5\n\ntime,y\n,degC\nt,1\n# battery\n\nt,2\n"
    raw = csv_rows(text.encode(), CsvFormat(), WANTED)
    assert [raw.rows, list(raw.lines)] == [[{"time": "t", "y": "1"}, {"time": "t", "y": "2"}], [6, 9]]
    assert raw.notes == (
        "the columns' names are in line 4",
        "line 5 is no row but says more of the columns: ',degC'",
    )
    assert CsvBody.of(text.encode(), CsvFormat(), WANTED).table(["time", "y"]).to_pylist() == raw.rows


def test_a_row_that_only_looks_strange_is_no_second_header():
    assert len(rows("time,y\nyesterday,\nt,1\n")) == 2
    assert len(rows("time,y\n2026,degC\n")) == 1


def test_a_header_that_is_a_comment_is_a_header():
    assert rows("# station 5\n# time,y\n1,2\n") == [{"time": "1", "y": "2"}]
    assert csv_rows(b"#time,y\n1,2\n", CsvFormat(), Wanted("#time", {"y"})).rows == [{"#time": "1", "y": "2"}]


def test_a_name_is_known_with_its_unit_and_without():
    assert rows("time,y [kW],x (°C),z [m]\nt,1,2,3\n") == [{"time": "t", "y": "1", "x": "2", "z [m]": "3"}]
    assert dialect_of("time,y [kW]\n", CsvFormat(), WANTED).units == {"y": "kW"}
    assert csv_rows(b"time,y [kW]\nt,1\n", CsvFormat(), Wanted("time", {"y [kW]"})).rows == [
        {"time": "t", "y [kW]": "1"}
    ]


def test_text_in_another_encoding_is_read_by_the_setting_and_refused_with_the_setting_without_it():
    body = "time;y;Wärme\nt;1;2\n".encode("latin-1")
    assert csv_rows(body, CsvFormat(encoding="latin-1"), WANTED).rows == [{"time": "t", "y": "1", "Wärme": "2"}]
    with pytest.raises(Malformed, match=r"found no UTF-8 at byte 8; `csv\.encoding` of the definition may say another"):
        csv_rows(body, CsvFormat(), WANTED)
    assert decoded("\ufeffa".encode("utf-16-le"), CsvFormat(encoding="utf-16-le")) == "a"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_any_system_ends_them(end: str):
    assert rows(end.join(["time,y", "t,1", "t,2", ""])) == [{"time": "t", "y": "1"}, {"time": "t", "y": "2"}]
