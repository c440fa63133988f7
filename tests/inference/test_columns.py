"""What condition columns are in: shifts that stand out, runs and gaps that are longer than any before."""

from datetime import timedelta

import numpy as np
import pytest

from driftline.messages import Record
from driftline_inference.sensor_health import SHORTEST, STAYS, WARM_UP, Condition, SensorHealth, assess, health_alerts

SLOT = np.array([0])
PERIOD = 600_000


def run(values: np.ndarray, t: np.ndarray | None = None) -> list[Condition]:
    """values: [records, columns]."""
    columns = SensorHealth.empty(1, values.shape[1], PERIOD)
    times = np.arange(len(values)) * PERIOD if t is None else t
    return [assess(columns, SLOT, times[n : n + 1], values[n : n + 1]) for n in range(len(values))]


def noise(count: int, columns: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, columns))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e6])
def test_a_step_of_three_deviations_stands_out_in_any_unit(seed: int, unit: float):
    values = noise(3000, seed=seed)
    values[2000:] += 3
    shift = np.array([found.shift[0, 0] for found in run(values * unit)])
    assert shift[:2000].mean() < 0.15
    assert shift[2010:2050].mean() > 0.7


def test_nothing_is_said_before_the_usual_is_known():
    values = noise(WARM_UP)
    values[WARM_UP // 2 :] += 100
    assert all(found.shift[0, 0] == 0 for found in run(values))


def test_what_moved_is_said_in_units():
    values = noise(2000)
    values[1500:] += 50
    assert run(values)[1550].moved[0, 0] == pytest.approx(50, rel=0.1)


def test_a_stuck_column_is_told_once():
    values = noise(400, 2)
    values[100:300, 1] = 7.0
    found = run(values)
    told = [(n, column) for n, one in enumerate(found) for column in np.flatnonzero(one.run[0]).tolist()]
    assert told == [(100 + SHORTEST - 1, 1)]


def test_a_missing_column_is_told_and_is_no_stuck_one():
    values = noise(200, 2)
    values[50:, 0] = np.nan
    found = run(values)
    (told,) = [n for n, one in enumerate(found) if one.run.any()]
    assert told == 50 + SHORTEST - 1
    assert found[told].missing[0].tolist() == [True, False]


def test_a_column_that_often_stands_still_is_left_in_peace():
    """Calm for 40 records again and again, as a turbine without wind: only the first time is news."""
    one = np.concatenate([noise(60), np.zeros((40, 1))])
    found = run(np.concatenate([one] * 8))
    assert sum(one.run.any() for one in found) == 1


def test_a_gap_is_told_when_it_is_longer_than_any_before():
    t = np.arange(300) * PERIOD
    t[100:] += 50 * PERIOD
    t[200:] += 60 * PERIOD
    gaps = [int(found.gap[0]) for found in run(noise(300), t)]
    assert [n for n, gap in enumerate(gaps) if gap] == [100]
    assert gaps[100] == 51 * PERIOD


def test_the_length_of_a_gap_is_told_in_days_and_hours():
    t = np.arange(101) * PERIOD
    t[100:] += 1000 * PERIOD
    record = Record("tank", "north", int(t[100]), {"level": 1.0}, 0.0)
    alerts = health_alerts(["level"], [0], record, run(noise(101), t)[100], 0)
    (gap,) = [alert.detail for alert in alerts if alert.kind == "gap"]
    assert gap == f"no record for {timedelta(milliseconds=1001 * PERIOD)} before this one"


def test_wild_values_leave_no_nan_behind():
    values = noise(1000, 3)
    values[500] = [1e300, -1e300, np.nan]
    values[600:, 0] *= 1000
    for found in run(values):
        assert np.isfinite(found.shift).all()
        assert ((found.shift >= 0) & (found.shift <= 1)).all()


def walk(count: int, seed: int = 0) -> np.ndarray:
    """A level that wanders in steps far smaller than its spread, as temperatures do."""
    return np.cumsum(noise(count, seed=seed), axis=0)


def test_a_jump_that_stays_is_told_once_and_by_how_much():
    values = walk(3000)
    values[2000:] += 40
    told = [(n, found.jumped[0, 0]) for n, found in enumerate(run(values)) if found.jumped[0, 0]]
    assert [n for n, _ in told] == [2000 + STAYS]
    assert told[0][1] == pytest.approx(40, abs=4)


def test_a_glitch_is_no_jump():
    values = walk(3000)
    values[2000:2002] += 40
    assert not any(found.jumped[0, 0] for found in run(values))


def test_a_jump_of_what_always_jumps_is_no_news():
    """A pitch angle that goes from one end to the other now and then."""
    values = np.where(np.arange(3000) // 60 % 2, 90.0, 0.0)[:, None] + noise(3000)
    assert not any(found.jumped[0, 0] for found in run(values))


def test_missing_values_within_a_jump_only_delay_it():
    values = walk(3000)
    values[2000:] += 40
    values[2001:2004] = np.nan
    assert sum(bool(found.jumped[0, 0]) for found in run(values)) == 1
