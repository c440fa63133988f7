"""What C and Python say of the same things in the forecasting step is the same."""

import re
from dataclasses import fields

import pytest

from driftline.streams import calendar, features, grid, history, layout
from driftline.streams.snapshots import Snapshot
from driftline.worker import late_truths
from driftline_inference import plausibility, rls, sensor_health
from tests.conftest import ROOT

SOURCES = ROOT / "kernels" / "src"
HEALTH = {"FAST_MEMORY": sensor_health.MEMORIES[0], "SLOW_MEMORY": sensor_health.MEMORIES[1]}
CONSTANTS = {
    "rls.h": {f"RLS_{name}": value for name, value in vars(rls).items()},
    "history.h": vars(history) | {"MEMORIES": len(layout.MEMORIES), "UNKNOWN": grid.UNKNOWN},
    "inputs.h": {
        **vars(layout),
        "BIAS": features.BIAS,
        "FILTER_HOURS": layout.FILTER_HOURS.stop,
        "YEAR_START": calendar.YEAR.start,
        "YEAR_STOP": calendar.YEAR.stop,
    },
    "health.h": vars(sensor_health) | HEALTH,
    "plausibility.h": vars(plausibility),
    "expected_truths.h": vars(late_truths),
}
STRUCTS = {
    "rls_waiting": ("rls.h", rls.Waiting),
    "rls_filters": ("rls.h", rls.Filters),
    "history_table": ("history.h", history.History),
    "history_snapshot": ("history.h", Snapshot),
    "inputs_table": ("inputs.h", features.Inputs),
    "health_table": ("health.h", sensor_health.SensorHealth),
    "health_condition": ("health.h", sensor_health.Condition),
    "truths_table": ("expected_truths.h", late_truths.LateTruths),
}


def header(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


def members_of(struct: str, text: str) -> list[str]:
    """Their names, in order."""
    body = re.search(r"typedef struct \{([^}]*)\} " + struct + ";", text)[1]
    return re.findall(r"(\w+)[,;]", body)


@pytest.mark.parametrize("name", list(CONSTANTS))
def test_constants_are_those_of_python(name: str):
    known = dict(re.findall(r"^#define ([A-Z_]+) \(?([-\d.e]+)\)?$", header(name), flags=re.MULTILINE))
    assert known
    assert {constant: float(text) for constant, text in known.items()} == {
        constant: CONSTANTS[name][constant] for constant in known
    }


@pytest.mark.parametrize("struct", list(STRUCTS))
def test_structs_have_the_arrays_in_the_order_of_python(struct: str):
    name, table = STRUCTS[struct]
    assert members_of(struct, header(name)) == [field.name for field in fields(table)]


def test_what_is_kept_of_a_column_lies_as_in_python():
    kept = members_of("plausibility_usual", header("plausibility.h"))
    assert [getattr(plausibility, part.upper()) for part in kept] == list(range(len(kept)))
