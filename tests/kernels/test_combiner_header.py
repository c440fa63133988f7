"""What C and Python say of the same things is the same."""

import re
from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import pytest

from driftline.arrays import TINY
from driftline.members import MEMBERS, MODELS
from driftline.scoring import LEVELS, ROWS, STRATEGIES
from driftline.streams.grid import NEVER
from driftline_combiner import guard, intervals, ledger, prequential, prior, weights
from driftline_combiner.kernel_blending import StreamRules
from driftline_combiner.rounds import ForecastRows, ScoredRound, WeighedRound
from tests.conftest import ROOT

SOURCES = ROOT / "kernels" / "src"
INT64 = r"\(INT64_C\(1\) << 62\)"
OTHERWISE = {"remote": "long", "fixed": "static"}
"""C's keywords are other words there."""


def header(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


def constants(name: str) -> dict[str, object]:
    """Of a header, by name; those of which Python's arithmetic says the value."""
    known = {} if name == "combiner.h" else constants("combiner.h")
    lines = re.findall(r"^#define (\w+) (.+)$", header(name), flags=re.MULTILINE)
    for constant, text in lines:
        python = re.sub(INT64, "2**62", text).replace("{", "[").replace("}", "]")
        known[constant] = eval(python, {}, known)  # noqa: S307
    return {constant: known[constant] for constant, _ in lines}


def members_of(struct: str, name: str = "combiner.h") -> list[str]:
    """The names in a struct, in order."""
    body = re.search(r"typedef struct \{([^}]*)\} " + struct + ";", header(name))[1]
    declared = re.sub(r"/\*.*?\*/|\b(const|int64_t|double|bool)\b|[*\s]", "", body, flags=re.DOTALL)
    return [OTHERWISE.get(field, field) for field in re.split("[,;]", declared) if field]


@pytest.mark.parametrize(
    ("struct", "python"),
    [
        ("ledger_table", [field.name for field in fields(ledger.Ledger)]),
        ("intervals_table", [field.name for field in fields(intervals.Intervals)]),
        ("forecast_rows", [field.name for field in fields(ForecastRows) if field.name != "messages"]),
        ("scored_round", ScoredRound._fields),
        ("weighed_round", WeighedRound._fields),
        ("stream_rules", [OTHERWISE.get(field[0], field[0]) for field in StreamRules._fields_]),
    ],
    ids=lambda of: of if isinstance(of, str) else "",
)
def test_structs_have_the_fields_in_the_order_of_python(struct: str, python: list[str]):
    assert members_of(struct) == list(python)


def test_as_many_are_counted():
    counted = {"MEMBERS": len(MEMBERS), "MODELS": len(MODELS), "STRATEGIES": len(STRATEGIES), "LEVELS": len(LEVELS)}
    found = constants("combiner.h")
    assert {name: found[name] for name in counted} == counted
    assert found["ROWS"] == len(ROWS)
    assert found["TAILS"] == len(intervals.FIRST)


RENAMED: Mapping[str, tuple[object, str]] = {
    "ENOUGH_SCORED": (intervals, "ENOUGH"),
    "FIRST_TAIL": (intervals, "FIRST"),
}


def of_constant(name: str, modules: tuple[object, ...]) -> object:
    """The one that has it."""
    return next(module for module in modules if hasattr(module, name))


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("ledger.h", (ledger, prequential, prior, guard)),
        ("intervals.h", (intervals,)),
        ("weights.h", (weights,)),
    ],
    ids=["ledger", "intervals", "weights"],
)
def test_constants_are_those_of_python(name: str, modules: tuple[object, ...]):
    found = {constant: value for constant, value in constants(name).items() if constant != "PAIRS"}
    assert found
    for constant, value in found.items():
        of, called = RENAMED.get(constant) or (of_constant(constant, modules), constant)
        expected = getattr(of, called)
        expected = expected[0] if constant == "FIRST_TAIL" else expected
        np.testing.assert_array_equal(np.array(value), np.array(expected), err_msg=constant)


def test_what_every_kernel_goes_by_is_that_of_python():
    assert constants("numbers.h")["TINY"] == TINY
    assert constants("grid.h")["NEVER"] == NEVER


def test_a_half_is_a_root():
    assert intervals.LIVELINESS == 0.5
