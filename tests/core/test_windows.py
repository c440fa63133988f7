"""Names of windows: two forms of ours, and what is none of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.store.windows import LARGEST, WindowName, parse

NUMBERS = st.integers(0, LARGEST)
EDGES = st.none() | st.from_regex(r"[A-Za-z0-9]{1,64}", fullmatch=True)


@given(NUMBERS, NUMBERS, EDGES)
def test_what_is_formatted_is_parsed(one: int, other: int, edge: str | None):
    window = WindowName(min(one, other), max(one, other), edge)
    assert parse(window.format()) == window


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("000000000100-000000000199.parquet", WindowName(100, 199, None)),
        ("1234567890123-1234567890223.parquet", WindowName(1234567890123, 1234567890223, None)),
        ("001420070400000-001420219800000-4f2a91.parquet", WindowName(1420070400000, 1420219800000, "4f2a91")),
    ],
)
def test_both_forms_are_read(name: str, window: WindowName):
    assert parse(name) == window
    assert window.format() == name


@pytest.mark.parametrize(
    "name",
    [
        "zzz.parquet",
        "",
        ".parquet",
        "000000000100-000000000199.csv",
        "000000000100-000000000199.parquet\n",
        "100-199.parquet",
        "000000000199-000000000100.parquet",
        "0000000000100-0000000000199.parquet",
        "\u0660" * 12 + "-" + "\u0661" * 12 + ".parquet",
        "001420070400000-001420219800000-.parquet",
        "001420070400000-001420219800000-a-b.parquet",
        "000000000100-000000000199-4f2a91.parquet",
        "9999999999999999999-9999999999999999999.parquet",
        f"{'9' * 5000}-{'9' * 5000}.parquet",
    ],
)
def test_other_names_are_none_of_ours(name: str):
    assert parse(name) is None


def test_windows_by_offsets_are_older_than_those_by_times():
    by_offset = WindowName(999_999_999_999_999, 999_999_999_999_999, None)
    early, late = WindowName(5, 9, "b"), WindowName(7, 9, "a")
    assert sorted([late, early, by_offset], key=lambda window: window.order) == [by_offset, early, late]
