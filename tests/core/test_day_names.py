"""Names of day files: what is formatted is parsed, and nothing else is."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.store.days import DAY_MS, MOST_PARTS, DayName, day_of, parse_day

NUMBERS = st.integers(-25_000, 47_000)
NAMES = st.builds(
    DayName,
    NUMBERS.map(lambda number: (date(1970, 1, 1) + timedelta(days=number)).isoformat()),
    st.just("") | st.from_regex(r"[A-Za-z0-9]{1,64}", fullmatch=True),
    st.integers(1, MOST_PARTS),
)


@given(NAMES)
def test_what_is_formatted_is_parsed(name: DayName):
    assert parse_day(name.format()) == name


@given(NUMBERS, st.integers(0, DAY_MS - 1))
def test_a_time_is_of_the_day_that_it_lies_in(number: int, rest: int):
    name = DayName(day_of(number * DAY_MS + rest))
    assert (name.begins, name.ends) == (number * DAY_MS, (number + 1) * DAY_MS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (DayName("2015-01-01", "4f2a91"), "2015-01-01-4f2a91.parquet"),
        (DayName("2015-01-01", "0002"), "2015-01-01-0002.parquet"),
        (DayName("2015-01-01", "4f2a91", 2), "2015-01-01-4f2a91.0002.parquet"),
        (DayName("2015-01-01"), "2015-01-01.parquet"),
        (DayName("2015-01-01", "", 12), "2015-01-01.0012.parquet"),
    ],
)
def test_names_are_read_and_written_so(name: DayName, text: str):
    assert name.format() == text
    assert parse_day(text) == name
    assert name.key("station") == f"days/station/{text}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".parquet",
        "2015-02-30-4f2a91.parquet",
        "2015-1-1.parquet",
        "2015-01-01-4f2a91.0001.parquet",
        "2015-01-01-4f2a91.0000.parquet",
        "2015-01-01-4f2a91.2.parquet",
        "2015-01-01-.parquet",
        "2015-01-01-a-b.parquet",
        "2015-01-01-4f2a91.parquet\n",
        "٢٠١٥-01-01.parquet",
        "001420070400000-001420219800000-4f2a91.parquet",
    ],
)
def test_other_names_are_none_of_ours(text: str):
    assert parse_day(text) is None
