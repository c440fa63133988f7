"""Where a value is in a row, and from what a device sends to a number."""

import math

import pytest

from driftline.streams.data_sections import ColumnSource
from driftline.streams.reading.paths import ABSENT, FieldPath
from driftline.streams.reading.refusals import UnusableError
from driftline.streams.reading.values import Decimal, NumberRule, name_of

ROW = {"a": {"b": [1, {"c": 2}], "switch:0": 3}, "a.b": 4, "Power [kW]": 5, "n": None}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b", 4),
        ("a.b[0]", 1),
        ("a.b[1].c", 2),
        ("a.switch:0", 3),
        ("Power [kW]", 5),
        ("n", None),
        ("a.b[2]", ABSENT),
        ("a.b.c", ABSENT),
        ("a.z", ABSENT),
        ("n.x", ABSENT),
        ("z", ABSENT),
        ("a..b", ABSENT),
        ("", ABSENT),
    ],
)
def test_a_path_goes_through_objects_and_lists_and_a_whole_name_goes_first(path: str, value: object):
    assert FieldPath.of(path).value(ROW) is value


def read(value: object, *, text: bool = True, decimal: Decimal = ".", **source: object) -> float | None:
    return NumberRule.of("y", ColumnSource.model_validate(source)).number(value, text=text, decimal=decimal)


@pytest.mark.parametrize("value", [None, math.nan, "", "  ", "NaN", "unavailable", "Unknown", "null", "N/A", "-nan"])
def test_what_says_nothing_is_missing(value: object):
    assert read(value) is None
    assert read(value, text=False) is None


def test_numbers_booleans_and_texts_that_mean_numbers():
    assert [read(value) for value in (1, 1.5, True, False, "true", " 2.5 ", "+1e2")] == [1, 1.5, 1, 0, 1, 2.5, 100]
    assert read("open", text=False, values={"open": 7}) == 7
    assert read(100, scale=0.1, offset=-40) == -30
    assert read("open", values={"open": 7}, scale=10) == 7


def test_what_is_said_of_true_and_false_is_said_of_their_words():
    assert read(False, text=False, missing=[False], scale=10) is None
    assert read(True, text=False, values={True: 7}, scale=10) == 7
    assert read(True, text=False, missing=[False], scale=10) == 10


def test_marks_of_nothing_are_those_before_scaling():
    assert read(-127, missing=[-127], scale=0.1) is None
    assert read("-127.0", missing=[-127]) is None
    assert read("Bad", missing=["bad"]) is None
    assert read(-12.7, missing=[-127], scale=10) == -127


@pytest.mark.parametrize(
    ("value", "decimal", "number"),
    [
        ("1,5", ",", 1.5),
        ("1.234,5", ",", 1234.5),
        ("-1.234.567,8", ",", -1234567.8),
        ("12", ",", 12.0),
        ("1.5", "either", 1.5),
        ("1,5", "either", 1.5),
    ],
)
def test_a_decimal_comma(value: str, decimal: Decimal, number: float):
    assert read(value, decimal=decimal) == number


@pytest.mark.parametrize(
    ("value", "decimal"),
    [("1,5", "."), ("1.5", ","), ("1,234.5", ","), ("1,234.5", "either"), ("1,2,3", ","), ("warm", "."), ("1e31", ".")],
)
def test_a_number_that_may_mean_two_things_is_refused(value: str, decimal: Decimal):
    with pytest.raises(UnusableError):
        read(value, decimal=decimal)


def test_a_number_as_text_needs_the_definitions_word_in_json():
    with pytest.raises(UnusableError) as error:
        read("21.5", text=False)
    assert error.value.expected.endswith("numbers as text need `text: true` in the definition")
    assert NumberRule.of("y", ColumnSource(text=True)).number("21.5", text=False) == 21.5
    with pytest.raises(UnusableError):
        read(1e30, scale=10)


@pytest.mark.parametrize("unit", ["1", "0", "e1"])
def test_a_unit_takes_no_digit_of_a_number(unit: str):
    assert read(f"2{unit}", unit=unit) == float(f"2{unit}")
    assert read(f"2{unit}", unit=unit, scale=2) == 2 * float(f"2{unit}")


def test_points_between_thousands_are_none_of_decimals_where_a_comma_is():
    assert [read(text, decimal=",") for text in ("1.204", "-1.204.500", "1.204,5", "1,204")] == [
        1204,
        -1204500,
        1204.5,
        1.204,
    ]
    for text in ("0.125", "1.2", "1.2045"):
        with pytest.raises(UnusableError, match="y"):
            read(text, decimal=",")


@pytest.mark.parametrize("text", ["1_0", "٣", "1\n2", "\n1", "0x10", "inf", "1e400", "infinity"])
def test_only_what_everybody_takes_for_a_number_is_one(text: str):
    with pytest.raises(UnusableError, match="y"):
        read(text)


def test_blanks_around_a_name_are_how_text_is_written():
    assert name_of("k", " a b ", text=True) == "a b"
    assert name_of("k", " a b ") == " a b "
    with pytest.raises(UnusableError, match="k"):
        name_of("k", "  ", text=True)
