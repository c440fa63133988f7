"""The combiner takes up what release 0.1.0 saved: scores, weights and intervals go on from where they were."""

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest

from driftline.bus.port import Envelope
from driftline.messages import Blend, Forecast
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.worker.keyed import KeyedStep
from driftline.worker.parts import checked, decoded
from driftline_combiner.migration import FormerBlendState
from driftline_combiner.scores import coverage, scores
from driftline_combiner.state import STATE, SavedDetectors, signature
from driftline_combiner.step import BlendStep
from tests.upgrade import kept
from tests.upgrade.kept import DEFINITION, KEYS, NEXT, Kept, Scores

NEW = {"weekly"}
"""Members that there were not."""


@pytest.fixture(scope="module")
def released() -> Kept:
    return kept.load()


def taken_up(
    states: dict[str, bytes], definition: StreamDefinition | None = None
) -> tuple[BlendStep, KeyedStep[Forecast]]:
    stream_step = kept.blend_step(definition)
    step: KeyedStep[Forecast] = KeyedStep({"kept": stream_step}, lambda _stream, _reason: None)
    step.restore(0, {f"kept/{key}": state for key, state in states.items()})
    return stream_step, step


def blends(step: KeyedStep[Forecast], forecasts: Sequence[Forecast]) -> list[Blend]:
    outputs = step.step([Envelope(0, n, forecast.t / 1000, forecast) for n, forecast in enumerate(forecasts)])
    return [output.message for output in outputs if isinstance(output.message, Blend)]


def near(score: Scores) -> object:
    return score.n, pytest.approx(score.rmse, nan_ok=True)


@pytest.mark.parametrize("key", KEYS)
def test_scores_are_what_they_were(released: Kept, key: str):
    stream_step, _ = taken_up(released.blend_states)
    for rows, former in zip(scores(stream_step.sums(key)), released.scores[key], strict=True):
        assert rows.keys() - former.keys() == NEW
        assert all(row.n == 0 for name, row in rows.items() if name in NEW)
        assert {name: (rows[name].n, rows[name].rmse) for name in former} == {
            name: near(score) for name, score in former.items()
        }


@pytest.mark.parametrize("key", KEYS)
def test_what_was_forecast_before_is_scored_when_its_truth_comes(released: Kept, key: str):
    stream_step, step = taken_up(released.blend_states)
    mine = [forecast for forecast in released.forecasts if forecast.key == key]
    blends(step, mine)
    # Six steps before one of the truths nothing was forecast: its record had no target.
    for rows, former, more in zip(scores(stream_step.sums(key)), released.scores[key], (NEXT, NEXT - 1), strict=True):
        assert rows["rls"].n == former["rls"].n + more


def test_forecasts_of_the_same_tick_meet_the_same_truth(released: Kept):
    """The first truth is that of the newest forecast, one step ahead, not of another."""
    stream_step, step = taken_up(released.blend_states)
    record = next(record for record in kept.following() if record.key == "north")
    newest = next(record for record in reversed(kept.learned()) if record.key == "north")
    truth, before = record.values["y"], newest.values["y"]
    assert truth is not None
    assert before is not None
    first = next(forecast for forecast in released.forecasts if forecast.key == "north")
    former = released.scores["north"][0]["persistence"]
    blends(step, [first])
    row = scores(stream_step.sums("north"))[0]["persistence"]
    added = row.rmse**2 * row.n - former.rmse**2 * former.n
    assert row.n == former.n + 1
    assert added == pytest.approx((truth - before) ** 2)


def test_the_blend_goes_on_between_its_members_and_with_their_weights(released: Kept):
    stream_step, step = taken_up(released.blend_states)
    # The filter has won; in a new series it weighs a fifth at most.
    assert stream_step.weighting("north")[0].weights["online"]["rls"] > 0.5
    published = blends(step, released.forecasts)
    assert len(published) == NEXT * len(KEYS)
    errors: dict[str, list[float]] = {"blend": [], "persistence": []}
    truths = {(record.key, record.t): record.values["y"] for record in kept.following()}
    for blend in published:
        truth = truths.get((blend.key, blend.t + 6 * kept.PERIOD_MS))
        value, naive = blend.value[1], blend.members["persistence"][1]
        if truth is not None and value is not None and naive is not None and math.isfinite(value):
            errors["blend"].append(value - truth)
            errors["persistence"].append(naive - truth)
    sizes = {name: math.sqrt(np.mean(np.square(part))) for name, part in errors.items()}
    assert sizes["blend"] < 0.8 * sizes["persistence"]


def test_intervals_are_as_wide_as_they_were_and_go_on_counting(released: Kept):
    stream_step, step = taken_up(released.blend_states)
    before = coverage(stream_step.sums("south"))
    assert all(row.n > 300 and 0.85 < row.share < 0.95 for row in before)
    assert all(0 < row.pinball == pytest.approx(row.recent_pinball) for row in before)
    mine = [forecast for forecast in released.forecasts if forecast.key == "south"]
    published = blends(step, mine)
    after = coverage(stream_step.sums("south"))
    for former, row in zip(before, after, strict=True):
        assert row.n > former.n
        assert row.share * row.n >= former.share * former.n
    truths = {record.t: record.values["y"] for record in kept.following() if record.key == "south"}
    inside = [
        lower <= truth <= upper
        for blend in published
        if (truth := truths.get(blend.t + kept.PERIOD_MS)) is not None
        and (lower := blend.lower[0]) is not None
        and (upper := blend.upper[0]) is not None
    ]
    assert 0.75 <= np.mean(inside) < 1.0


def test_a_truth_that_was_awaited_may_still_come(released: Kept):
    stream_step, _ = taken_up(released.blend_states)
    for record in (record for record in kept.learned() if record.t >= kept.BEGIN_MS + 397 * kept.PERIOD_MS):
        late = Forecast("kept", record.key, record.t, 10.0, [1, 6], {}, {}, 0.0)
        assert stream_step.awaits(late) == (record.values["y"] is None)


def test_taken_up_twice_it_is_the_same_and_from_then_on_it_is_a_state_of_today(released: Kept):
    once, _ = taken_up(released.blend_states)
    twice, again = taken_up(released.blend_states)
    again.restore(0, {f"kept/{key}": state for key, state in released.blend_states.items()})
    for key in KEYS:
        assert once.save(key) == twice.save(key)
    today, _ = taken_up({key: once.save(key) for key in KEYS})
    assert [today.save(key) for key in KEYS] == [once.save(key) for key in KEYS]


def test_detectors_of_drift_are_as_they_were(released: Kept):
    stream_step, _ = taken_up(released.blend_states)
    for key in KEYS:
        former = msgspec.msgpack.decode(released.blend_states[key], type=FormerBlendState).detectors
        saved = decoded(stream_step.save(key))
        assert saved is not None
        detectors = checked(saved, STATE, signature(kept.stream())).said(SavedDetectors)
        assert detectors.states == dict(zip(("error 1", "column y", "column x"), former, strict=True))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda saved: msgspec.structs.replace(saved, arrays=saved.arrays[:-8]),
        lambda saved: msgspec.structs.replace(saved, arrays=b""),
        lambda saved: msgspec.structs.replace(saved, detectors=saved.detectors[:-1]),
        lambda saved: msgspec.structs.replace(saved, detectors=[b"" for _ in saved.detectors]),
    ],
    ids=["cut", "empty", "a detector less", "empty detectors"],
)
def test_a_state_of_another_size_begins_again(released: Kept, spoil: Callable[[FormerBlendState], FormerBlendState]):
    saved = msgspec.msgpack.decode(released.blend_states["north"], type=FormerBlendState)
    states = {**released.blend_states, "north": msgspec.msgpack.encode(spoil(saved))}
    stream_step, step = taken_up(states)
    assert stream_step.keys() == ["south"]
    assert len(blends(step, released.forecasts)) == NEXT * len(KEYS)


@pytest.mark.parametrize(
    "change", [("window: 100", "window: 101"), ("[1, 6]", "[1, 7]"), ("patience: 4", "patience: 5")]
)
def test_a_state_of_another_definition_begins_again(released: Kept, change: tuple[str, str]):
    stream_step, _ = taken_up(released.blend_states, parse(DEFINITION.replace(*change), "kept.yaml"))
    assert stream_step.keys() == []
