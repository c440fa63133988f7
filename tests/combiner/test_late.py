"""A truth that comes late is scored as if it had come in time, once, and only while there is patience."""

import numpy as np
import pytest

from driftline.bus.port import Envelope
from driftline.messages import Alert, Blend, Forecast
from driftline.streams.definition_files import parse
from driftline.worker.keyed import KeyedStep
from driftline_combiner.scores import scores
from driftline_combiner.step import BlendStep

STREAM = parse(
    "name: a\ntime: {column: when, period: 1h}\ntarget: y\nhorizon: [1, 3]\npatience: 4\nweighting: {window: 20}\n",
    "a.yaml",
)
HOUR_MS = 3_600_000


def forecasts(count: int, lacking: tuple[int, ...] = ()) -> list[Forecast]:
    """A walk that every member knows with an error of its own."""
    y = np.cumsum(np.random.default_rng(3).normal(size=count))
    members = [{"persistence": [y[n]] * 2, "rls": [y[n] + 0.3, y[n] - 0.2]} for n in range(count)]
    return [
        Forecast("a", "k", n * HOUR_MS, None if n in lacking else float(y[n]), [1, 3], members[n], {}, 0.0)
        for n in range(count)
    ]


def truth(of: Forecast) -> Forecast:
    return Forecast("a", "k", of.t, of.observed, [1, 3], {}, {}, 0.0)


def run(sent: list[Forecast], cut: int = 1000) -> tuple[BlendStep, list[object], list[str]]:
    dropped: list[str] = []
    stream_step = BlendStep(STREAM, lambda _stream, _kind: None)
    step = KeyedStep({"a": stream_step}, lambda _stream, reason: dropped.append(reason))
    envelopes = [Envelope(0, n, 0.0, message) for n, message in enumerate(sent)]
    parts = [envelopes[:cut], envelopes[cut:]]
    return stream_step, [output.message for part in parts for output in step.step(part)], dropped


def scored(stream_step: BlendStep) -> list[int]:
    return [rows["persistence"].n for rows in scores(stream_step.sums("k"))]


@pytest.mark.parametrize("late", [0, 1, 3])
def test_it_is_scored_as_if_it_had_come_in_time(late: int):
    whole = forecasts(40)
    holey = forecasts(40, lacking=(30,))
    in_time, _, _ = run(whole)
    at_last, told, dropped = run([*holey[: 31 + late], truth(whole[30]), *holey[31 + late :]])
    assert scored(at_last) == scored(in_time)
    expected, found = scores(in_time.sums("k")), scores(at_last.sums("k"))
    for h in range(2):
        for row in ("persistence", "rls"):
            assert found[h][row].rmse == pytest.approx(expected[h][row].rmse)
    assert sum(isinstance(message, Blend) for message in told) == 40
    assert dropped == []


def test_without_it_nothing_is_scored_there():
    stream_step, _, _ = run(forecasts(40, lacking=(30,)))
    assert scored(stream_step) == [38, 36]


def test_it_counts_once_and_not_after_the_patience():
    whole, holey = forecasts(40), forecasts(40, lacking=(10, 30))
    twice = [*holey[:33], truth(whole[30]), truth(whole[30]), truth(whole[10]), *holey[33:]]
    stream_step, _, dropped = run(twice)
    assert scored(stream_step) == [38, 36]
    assert dropped == ["out_of_order"] * 2


@pytest.mark.parametrize("cut", [31, 32, 33, 34])
def test_where_the_batch_is_cut_makes_no_difference(cut: int):
    whole, holey = forecasts(40), forecasts(40, lacking=(30,))
    sent = [*holey[:33], truth(whole[30]), *holey[33:]]
    one, two = run(sent), run(sent, cut)
    assert one[0].save("k") == two[0].save("k")


def test_what_waits_survives_a_restart():
    whole, holey = forecasts(40), forecasts(40, lacking=(30,))
    stream_step, _, _ = run(holey[:33])
    restored = BlendStep(STREAM, lambda _stream, _kind: None)
    restored.restore("k", stream_step.save("k"))
    assert restored.awaits(truth(whole[30]))
    restored.complete(truth(whole[30]))
    stream_step.complete(truth(whole[30]))
    assert restored.save("k") == stream_step.save("k")


def test_where_the_guard_steps_in_an_alert_says_so_once():
    y = np.random.default_rng(1).normal(size=400)
    bad = [
        Forecast("a", "k", n * HOUR_MS, float(y[n]), [1, 3], both, {}, 0.0)
        for n in range(400)
        for both in [{"persistence": [0.0] * 2, "rls": [50.0 * (-1) ** n] * 2}]
    ]
    static = STREAM.model_copy(update={"weighting": STREAM.weighting.model_copy(update={"active": "static"})})
    stream_step = BlendStep(static, lambda _stream, _kind: None)
    step = KeyedStep({"a": stream_step}, lambda _stream, _reason: None)
    told = [output.message for output in step.step([Envelope(0, n, 0.0, message) for n, message in enumerate(bad)])]
    alerts = [message for message in told if isinstance(message, Alert) and message.kind == "negative-skill"]
    assert 1 <= len(alerts) <= 2  # of the horizons, each once
    assert alerts[0].subject == "static"
    assert alerts[0].detail.startswith("static has fallen behind persistence, which is published meanwhile: RMSE ")
    assert alerts[0].detail.endswith((" 1 step ahead", " 3 steps ahead"))
