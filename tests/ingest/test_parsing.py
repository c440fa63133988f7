"""From bodies to rows, or to the position where they are broken."""

import pytest

from driftline_ingest.parsing import Malformed, UnknownType, parse


def test_json_is_one_object_or_an_array():
    assert parse("application/json", b'{"a": 1}') == [{"a": 1}]
    assert parse("application/json; charset=utf-8", b'[{"a": 1}, {"a": 2}]') == [{"a": 1}, {"a": 2}]


def test_ndjson_is_a_row_a_line_and_blank_lines_are_none():
    assert parse("application/x-ndjson", b'{"a": 1}\n\n{"a": 2}\n') == [{"a": 1}, {"a": 2}]


def test_csv_is_rows_of_text_and_an_empty_field_is_missing():
    assert parse("text/csv", '﻿a,b\r\n1,"x,y"\r\n,2\r\n'.encode()) == [{"a": "1", "b": "x,y"}, {"a": None, "b": "2"}]


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("application/json", b'{"a": }', "broken JSON: JSON is malformed: invalid character (byte 6)"),
        ("application/json", b"", "broken JSON: Input data was truncated"),
        ("application/x-ndjson", b'{"a": 1}\n{"a": \n', "broken JSON in line 2"),
        ("text/csv", b"a,b\n1,2\n1,2,3\n", "broken CSV in line 3: found 3 fields, expected 2 as in the header"),
        ("text/csv", b'a,b\n1,"2\n', "broken CSV in line 2: unexpected end of data"),
        ("text/csv", b"a\n\xff\n", "broken CSV: found no UTF-8 at byte 2"),
    ],
)
def test_a_broken_body_is_refused_with_its_position(kind: str, body: bytes, message: str):
    with pytest.raises(Malformed) as error:
        parse(kind, body)
    assert message in str(error.value)


def test_an_unknown_type_is_told_the_known_ones():
    with pytest.raises(UnknownType, match="found content type 'text/xml', expected one of application/json, appl"):
        parse("text/xml", b"<a/>")


def test_depth_is_no_way_in():
    with pytest.raises(Malformed):
        parse("application/json", b"[" * 100_000)
