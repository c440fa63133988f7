"""Whatever the sensors do: every record whose target is there gets a finite blend, and a person is told."""

from collections.abc import Callable

import numpy as np
import pytest

from driftline.arrays import Floats, Ints
from driftline.messages import Alert, Blend
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline.streams.tables import read_file
from tests.conftest import ROOT
from tests.e2e.stream_steps import StreamSteps, records

COUNT, AT = 3000, 2000
DAY_MS = 86_400_000
Series = tuple[Ints, Floats]


@pytest.fixture(scope="module")
def series(temperature: StreamDefinition) -> Series:
    rows: Rows = read_file(ROOT / "data" / "la-haute-borne.parquet", temperature)
    part = rows.by_key()["R80736"].take(slice(0, COUNT))
    return part.t, part.values


def constant(t: Ints, values: Floats) -> Series:
    return t, np.full_like(values, 7.0)


def constant_column(t: Ints, values: Floats) -> Series:
    values[:, 2] = 0.0
    return t, values


def stuck(t: Ints, values: Floats) -> Series:
    values[AT : AT + 300, 0] = values[AT, 0]
    return t, values


def spikes(t: Ints, values: Floats) -> Series:
    values[AT::100, 0] = 1e9
    values[AT + 50 :: 100, 1] = -1e9
    return t, values


def huge(t: Ints, values: Floats) -> Series:
    values[AT] = 1e30
    values[AT + 1] = -1e30
    return t, values


def another_unit(t: Ints, values: Floats) -> Series:
    values[AT:, :4] *= 1000.0
    return t, values


def gap(t: Ints, values: Floats) -> Series:
    return np.where(np.arange(len(t)) >= AT, t + 9 * DAY_MS, t), values


def a_column_is_gone(t: Ints, values: Floats) -> Series:
    values[AT:, 1] = np.nan
    return t, values


def a_column_never_came(t: Ints, values: Floats) -> Series:
    values[:, 1] = np.nan
    return t, values


def the_target_is_gone(t: Ints, values: Floats) -> Series:
    values[AT : AT + 200, 0] = np.nan
    return t, values


def run(
    stream: StreamDefinition, series: Series, harm: Callable[[Ints, Floats], Series]
) -> tuple[list[Blend], list[Alert]]:
    t, values = series
    defined = stream.model_copy(update={"horizon": (1, 6)})
    return StreamSteps(defined).run(records(defined, *harm(t.copy(), values.copy())))


@pytest.mark.parametrize(
    ("harm", "kind", "subject"),
    [
        (constant, "stuck", "Ot_avg"),
        (constant_column, "stuck", "Ws_avg"),
        (stuck, "stuck", "Ot_avg"),
        (spikes, "anomaly", "Ot_avg"),
        (huge, "anomaly", "Ot_avg"),
        (another_unit, "drift", "Ot_avg"),
        (gap, "gap", "time"),
        (a_column_is_gone, "missing", "P_avg"),
        (a_column_never_came, "missing", "P_avg"),
        (the_target_is_gone, "missing", "Ot_avg"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_every_blend_is_finite_and_a_person_is_told(series: Series, temperature, harm, kind: str, subject: str):
    blends, alerts = run(temperature, series, harm)
    assert len(blends) == COUNT
    for blend in blends:
        if blend.observed is not None:
            assert np.isfinite(blend.value).all(), blend
    assert (kind, subject) in {(alert.kind, alert.subject) for alert in alerts}


def test_after_spikes_forecasts_are_soon_as_good_as_without(series: Series, temperature: StreamDefinition):
    calm, _ = run(temperature, series, lambda t, values: (t, values))
    harmed, _ = run(temperature, series, lambda t, values: (t, np.where(np.arange(len(t))[:, None] == AT, 1e9, values)))
    after = slice(AT + 200, COUNT)
    error = [abs(one.value[0] - other.value[0]) for one, other in zip(calm[after], harmed[after], strict=True)]
    usual = np.nanstd(np.diff(series[1][:, 0]))
    assert np.nanmean(error) < 0.2 * usual


def test_a_key_that_appears_and_one_that_stops_disturb_no_other(series: Series, temperature: StreamDefinition):
    t, values = series
    alone = StreamSteps(temperature).run(records(temperature, t, values, "a"))[0]
    sent = records(temperature, t, values, "a")
    more = records(temperature, t[500:1500], values[500:1500] + 40.0, "b")
    mixed = sorted([*sent, *more], key=lambda record: record.t)
    together = [blend for blend in StreamSteps(temperature).run(mixed)[0] if blend.key == "a"]
    assert len(together) == len(alone)
    for one, other in zip(together, alone, strict=True):
        assert one.value == pytest.approx(other.value, nan_ok=True)
