"""From bodies to rows, or to the position where they are broken."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.reading.bodies import Malformed
from driftline_ingest.parsing import UnknownType, parse


def test_json_is_one_object_or_an_array():
    assert parse("application/json", b'{"a": 1}').rows == [{"a": 1}]
    assert parse("application/json; charset=utf-8", b'[{"a": 1}, {"a": 2}]').rows == [{"a": 1}, {"a": 2}]


def test_ndjson_is_a_row_a_line_and_blank_lines_are_none():
    assert parse("application/x-ndjson", b'{"a": 1}\n\n{"a": 2}\n').rows == [{"a": 1}, {"a": 2}]


def test_csv_is_rows_of_text_and_an_empty_field_is_missing():
    assert parse("text/csv", '﻿a,b\r\n1,"x,y"\r\n,2\r\n'.encode()).rows == [
        {"a": "1", "b": "x,y"},
        {"a": None, "b": "2"},
    ]


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("application/json", b'{"a": }', "broken JSON: JSON is malformed: invalid character (byte 6)"),
        ("application/json", b"", "broken JSON: Input data was truncated"),
        ("application/x-ndjson", b'{"a": 1}\n{"a": \n', "broken JSON in line 2"),
        (
            "application/json",
            b'{"a": 1, "a": 2}',
            "broken JSON: found 'a' twice in one object, expected every name once",
        ),
        ("application/json", b'{"a" :1, "a":2}', "broken JSON: found 'a' twice"),
        ("application/json", b'{"a": 1, "\\u0061": 2}', "broken JSON: found 'a' twice"),
        ("application/json", b'{"b": {"a": 1, "a": 2}}', "broken JSON: found 'a' twice"),
        ("application/json", b' [{"a": 1}, {"a": ":", "a": 2}]', "broken JSON in row 2: found 'a' twice"),
        ("application/json", b'[{"a": 1}, [{"a": 1, "a": 2}]]', "broken JSON in row 2: found 'a' twice"),
        ("application/x-ndjson", b'{"a": 1}\n\n{"a": 1, "a": 2}', "broken JSON in line 3: found 'a' twice"),
        (
            "text/csv",
            b"a,b,a\n1,2,3\n",
            "broken CSV in line 1: found 'a' twice in the header, expected every name once",
        ),
        ("text/csv", b"a,b\n1,2\n1,2,3\n", "broken CSV in line 3: found 3 fields, expected 2 as in the header"),
        ("text/csv", b'a,b\n1,"2\n', "broken CSV in line 2: unexpected end of data"),
        ("text/csv", b"a" * 200_000 + b",b\n1,2\n", "broken CSV in line 1: field larger than field limit"),
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


TEXTS = st.text(st.sampled_from('a": \\,{}'), max_size=4)
PAIRS = st.lists(st.tuples(TEXTS, st.none() | TEXTS | st.dictionaries(TEXTS, TEXTS, max_size=2)), max_size=4)


@given(st.lists(PAIRS, min_size=1, max_size=3), st.sampled_from([":", ": ", " :", "\n:"]), st.booleans())
def test_an_object_is_refused_exactly_where_a_name_stands_twice(rows: list[list[Any]], colon: str, lines: bool):  # noqa: FBT001
    """Whatever the names and values look like: the shortcut that most bodies take is never wrong."""
    written = [",".join(f"{_json(name)}{colon}{_json(value)}" for name, value in row).join("{}") for row in rows]
    body = ("\n" if lines else ",").join(line.replace("\n", " ") for line in written)
    kind, body = ("application/x-ndjson", body) if lines else ("application/json", f"[{body}]")
    if any(len(dict(row)) != len(row) for row in rows):
        with pytest.raises(Malformed, match="twice"):
            parse(kind, body.encode())
    else:
        assert parse(kind, body.encode()).rows == [dict(row) for row in rows]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
