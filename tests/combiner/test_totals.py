"""What is told of all series together: it equals the sum over them after whatever has happened, and costs the same
however many they are."""

import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.core import Metric

from driftline.messages import Forecast
from driftline.scoring import PUBLISHED
from driftline.streams.definition_files import parse
from driftline_combiner import totals
from driftline_combiner.exporter import KEYS_EXPORTED, ScoreExporter
from driftline_combiner.rest import stream_scores
from driftline_combiner.scores import scores
from driftline_combiner.step import BlendStep
from driftline_combiner.totals import RESUMMED_AT_ONCE, ScoreSums

STREAM = parse(
    "name: a\ntime: {column: when, period: 1h}\ntarget: y\nhorizon: [1, 3]\npatience: 4\nweighting: {window: 20}\n", "a"
)
HOUR_MS = 3_600_000
KEYS = [f"k{n}" for n in range(7)]
COUNTED = ("scored", "recently", "guarded", "met", "covered", "judged")
FEW, MANY = 10, 3000


def new_lane() -> BlendStep:
    return BlendStep(STREAM, lambda _stream, _kind: None)


def forecast(key: str, t: int, y: float | None, scale: float = 1.0) -> Forecast:
    naive = 0.0 if y is None else y
    members = {"persistence": [naive, naive], "rls": [naive + scale, None if t % 5 == 3 else naive - 0.2 * scale]}
    return Forecast("a", key, t * HOUR_MS, y, [1, 3], members | ({"batch": [0.5, 0.3]} if t % 3 else {}), {}, 0.0)


def one_by_one(stream_step: BlendStep) -> ScoreSums:
    """The sums over all series, each looked at by itself."""
    each = [stream_step.sums(key) for key in stream_step.behind(None)]
    return ScoreSums(*(np.sum([getattr(sums, field.name) for sums in each], axis=0) for field in fields(ScoreSums)))


def assert_totals(stream_step: BlendStep) -> None:
    if not stream_step.series:
        assert not any(row.n for rows in scores(stream_step.sums()) for row in rows.values())
        return
    found, expected = stream_step.sums(), one_by_one(stream_step)
    for name in COUNTED:
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    for field in fields(ScoreSums):
        assert getattr(found, field.name) == pytest.approx(getattr(expected, field.name), rel=1e-9, abs=1e-6)
    for h, standings in enumerate(zip(*(stream_step.weighting(key) for key in stream_step.behind(None)), strict=True)):
        published = [sum(standing.weights[PUBLISHED].values()) for standing in standings]
        assert found.weights[h].sum() == pytest.approx(sum(published))
        assert found.guarded[h] == sum(standing.guarded for standing in standings)


class Played:
    """A lane to which things happen, and the states that it saved on the way."""

    def __init__(self) -> None:
        self.stream_step = new_lane()
        self.t = 0
        self.saved: dict[str, bytes] = {}
        self.lacking: list[tuple[str, int]] = []

    def work(self, keys: list[str], y: float | None) -> None:
        self.t += 1
        if keys:
            self.stream_step.work([forecast(key, self.t, y if place % 4 else 1.5) for place, key in enumerate(keys)])
            self.lacking += [(key, self.t) for place, key in enumerate(keys) if y is None and place % 4]

    def complete(self, keys: list[str], y: float | None) -> None:
        for key, t in self.lacking:
            late = forecast(key, t, y or 0.5)
            if key in keys and self.stream_step.awaits(late):
                self.stream_step.complete(late)

    def save(self, keys: list[str], _y: float | None) -> None:
        self.saved |= {key: self.stream_step.save(key) for key in keys if self.stream_step.owns(key)}

    def restore(self, keys: list[str], _y: float | None) -> None:
        for key in keys:
            if key in self.saved:
                self.stream_step.restore(key, self.saved[key])

    def forget(self, keys: list[str], _y: float | None) -> None:
        for key in keys:
            if self.stream_step.owns(key):
                self.stream_step.forget(key)


NAMES = st.lists(st.sampled_from(KEYS), max_size=len(KEYS))
WHAT = st.sampled_from(
    [Played.work, Played.work, Played.work, Played.complete, Played.save, Played.restore, Played.forget]
)
STEPS = st.lists(st.tuples(WHAT, NAMES, st.none() | st.floats(-1e3, 1e3)), max_size=30)


@given(STEPS, st.sampled_from([1, 3, RESUMMED_AT_ONCE]))
@settings(max_examples=40, deadline=None)
def test_the_totals_are_the_sum_over_all_series_whatever_has_happened(
    steps: list[tuple[Callable[[Played, list[str], float | None], None], list[str], float | None]],
    anew: int,
):
    """anew: with few of them, most of what is told is what the changes have added up to."""
    played = Played()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(totals, "RESUMMED_AT_ONCE", anew)
        for happens, keys, y in steps:
            happens(played, keys, y)
            assert_totals(played.stream_step)


def test_a_truth_that_came_late_is_in_the_totals():
    stream_step = new_lane()
    for t in range(4):
        stream_step.work([forecast(key, t, None if t == 3 else float(t)) for key in KEYS])
    before = stream_step.sums().scored.sum()
    late = forecast(KEYS[0], 3, 7.0)
    assert stream_step.awaits(late)
    stream_step.complete(late)
    assert stream_step.sums().scored.sum() > before
    assert_totals(stream_step)


def test_many_restored_series_are_all_in_the_totals():
    old, new = new_lane(), new_lane()
    for t in range(6):
        old.work([forecast(f"k{n}", t, float(t)) for n in range(600)])
    for key in old.behind(None):
        new.restore(key, old.save(key))
    assert_totals(new)
    for field in fields(ScoreSums):
        # Sums over all series: what is tiny in them is known as exactly as the largest.
        assert getattr(new.sums(), field.name) == pytest.approx(getattr(old.sums(), field.name), abs=1e-9)


def test_an_error_beyond_all_bounds_leaves_with_its_series():
    stream_step = new_lane()
    stream_step.work([forecast(f"k{n}", 0, 1.0) for n in range(3 * RESUMMED_AT_ONCE)])
    with np.errstate(over="ignore", invalid="ignore"):
        stream_step.work([forecast("k0", t, y) for t, y in ((1, 1e200), (2, -1e200), (3, 1e200), (4, 1e200))])
    assert not np.isfinite(stream_step.sums().squared).all()
    stream_step.forget("k0")
    for t in range(1, 12):
        stream_step.work([forecast(f"k{n}", t, 1.0) for n in range(1, 3 * RESUMMED_AT_ONCE)])
    assert_totals(stream_step)


@pytest.fixture(scope="module")
def stream_steps() -> dict[int, BlendStep]:
    """By how many series they have."""
    found = {count: new_lane() for count in (FEW, MANY)}
    for count, stream_step in found.items():
        for t in range(5):
            stream_step.work([forecast(f"k{n:05}", t, float(t)) for n in range(count)])
    return found


def costs(work: Callable[[], Any]) -> tuple[int, int]:
    """Calls of functions, and most memory at once in bytes, of the second time."""
    work()
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    tracemalloc.start()
    try:
        work()
        return calls, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def assert_alike(few: tuple[int, int], many: tuple[int, int]) -> None:
    assert many[0] == few[0]
    assert many[1] < few[1] + 20_000  # bytes: of MANY series even one number each would be more


def exported(stream_step: BlendStep) -> list[Metric]:
    return list(ScoreExporter({"a": stream_step}, by_key=False).collect())


def test_what_prometheus_is_told_costs_the_same_however_many_series_there_are(stream_steps: dict[int, BlendStep]):
    few, many = (costs(partial(exported, stream_step)) for stream_step in stream_steps.values())
    assert_alike(few, many)


def test_scores_cost_the_same_however_many_series_there_are(stream_steps: dict[int, BlendStep]):
    few, many = (costs(partial(stream_scores, "a", stream_step)) for stream_step in stream_steps.values())
    assert_alike(few, many)


def test_of_single_series_few_are_told(stream_steps: dict[int, BlendStep]):
    told = ScoreExporter({"a": stream_steps[MANY]}, by_key=True).collect()
    keys = {sample.labels["key"] for family in told for sample in family.samples if "key" in sample.labels}
    assert keys == {"all", *(f"k{n:05}" for n in range(KEYS_EXPORTED))}
