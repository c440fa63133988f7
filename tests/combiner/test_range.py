"""A stream with a range: nothing that is published lies beyond it, no error grows, and coverage stays right."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.arrays import Floats
from driftline.members import MEMBERS
from driftline.messages import Blend, Forecast
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline_combiner.step import BlendStep
from driftline_combiner.totals import ScoreSums

DEFINITION = "name: sun\ntime: {column: when, period: 10min}\ntarget: power\nhorizon: [1, 6]\n"
HOURLY = 6
DAY = 24 * HOURLY
RECORDS = 12 * DAY
RANGE = (0.0, 3000.0)


def stream(ends: str = "") -> StreamDefinition:
    return parse(DEFINITION + (f"range: {ends}\n" if ends else ""), "sun.yaml")


def power() -> Floats:
    """Of a plant that is off for half of the day, and at its limit at times; its meter reads a little less than nothing
    at night."""
    random = np.random.default_rng(3)
    t = np.arange(RECORDS)
    level = 4000 * np.sin(2 * np.pi * t / DAY) * (0.6 + 0.4 * np.sin(t / 700)) + random.normal(0, 150, RECORDS)
    return np.clip(level, -3.0, 3000.0)


def forecasts(truths: Floats) -> list[Forecast]:
    """Persistence, and a model that is right but for noise, and knows no range."""
    random = np.random.default_rng(4)
    noise = random.normal(0, 200, (len(truths), 2))
    messages = []
    for n in range(len(truths) - HOURLY):
        ahead = [float(truths[n + h] + noise[n, i]) for i, h in enumerate((1, HOURLY))]
        members: dict[str, list[float | None]] = {"persistence": [float(truths[n])] * 2, "batch": ahead}
        messages.append(Forecast("sun", "all", n * 600_000, float(truths[n]), [1, HOURLY], members, {}, 0.0))
    return messages


def run(of: StreamDefinition, messages: Sequence[Forecast]) -> tuple[list[Blend], ScoreSums]:
    step = BlendStep(of, lambda *_: None)
    blends = [emission[1] for caused in step.work(messages) for emission in caused if isinstance(emission[1], Blend)]
    return blends, step.sums()


def published(blend: Blend) -> list[float]:
    rows = [blend.value, blend.lower, blend.upper, *blend.members.values(), *blend.strategies.values()]
    return [
        value for row in (*rows, *blend.quantiles.values()) for value in row if value is not None and np.isfinite(value)
    ]


@pytest.fixture(scope="module")
def both() -> tuple[tuple[list[Blend], ScoreSums], tuple[list[Blend], ScoreSums]]:
    messages = forecasts(power())
    return run(stream(), messages), run(stream("[0, 3000]"), messages)


def test_nothing_that_is_published_is_beyond_it(both):
    free, within = ([value for blend in blends for value in published(blend)] for blends, _ in both)
    assert min(free) < -100
    assert max(free) > 3100
    assert (min(within), max(within)) == RANGE


def test_the_reading_is_kept_as_it_was(both):
    assert min(blend.observed for blend in both[1][0]) == -3.0


def test_no_error_is_worse_and_the_intervals_are_better(both):
    (_, free), (_, within) = both
    # Members first: each by itself; the blend learns other weights of them.
    members = len(MEMBERS)
    assert (within.squared[:, :members] <= free.squared[:, :members]).all()
    assert (within.squared[:, -1] < free.squared[:, -1]).all()
    assert (within.pinball < free.pinball).all()


def test_the_interval_covers_as_many_truths_as_it_says(both):
    covered = both[1][1].covered / both[1][1].met
    assert (covered > 0.88).all()
    assert (covered < 0.97).all()


def test_readings_beyond_it_for_good_do_not_widen_the_interval():
    """As of a meter that reads less than nothing for weeks."""
    truths = np.full(1500, -50.0)
    truths[:500] = 500 + np.random.default_rng(5).normal(0, 20, 500)
    blends, sums = run(stream("[0, null]"), forecasts(truths))
    assert blends[-1].upper[0] < 200
    assert (sums.covered / sums.met > 0.85).all()


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=40),
    st.sampled_from(["[0, 3000]", "[0, null]", "[null, 7]", "[0.1234567890123, 0.12345678901234]", "[-1, 1]"]),
)
def test_whatever_comes_nothing_is_beyond_it(truths: list[float], ends: str):
    of = stream(ends)
    lowest, highest = of.within(np.array([-np.inf, np.inf]))
    values = np.array([*truths, *truths[:HOURLY], *[0.0] * HOURLY])
    blends, _ = run(of, forecasts(values))
    assert blends
    assert all(lowest <= value <= highest for blend in blends for value in published(blend))


def test_without_one_everything_is_as_it_was():
    assert stream().range is None
    values = np.array([-5.0, np.nan, 1e300])
    assert stream().within(values) is values
