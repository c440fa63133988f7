"""A target that comes late teaches the built-in members and reaches the combiner."""

import numpy as np

from driftline.bus.port import Envelope
from driftline.messages import Forecast, Record
from driftline.streams.definition_files import parse
from driftline.worker.keyed import KeyedStep
from driftline_inference.step import ForecastStep

STREAM = parse(
    "name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nfeatures: {x: level}\nlags: 3\nhorizon: [1, 2]\n"
    "patience: 3\n",
    "a.yaml",
)


def records(count: int, lacking: tuple[int, ...] = ()) -> list[Record]:
    y = np.cumsum(np.random.default_rng(0).normal(size=count))
    return [
        Record("a", "k", n * 3_600_000, {"y": None if n in lacking else float(y[n]), "x": n % 5.0}, 0.0)
        for n in range(count)
    ]


def run(sent: list[Record]) -> tuple[ForecastStep, list[Forecast], list[str]]:
    dropped: list[str] = []
    stream_step = ForecastStep(STREAM, dict)
    step = KeyedStep({"a": stream_step}, lambda _stream, reason: dropped.append(reason))
    outputs = step.step([Envelope(0, n, 0.0, record) for n, record in enumerate(sent)])
    return stream_step, [output.message for output in outputs if isinstance(output.message, Forecast)], dropped


def test_the_combiner_is_told_what_was_observed():
    whole, holey = records(30), records(30, lacking=(20,))
    _, found, dropped = run([*holey[:23], whole[20], *holey[23:]])
    assert dropped == []
    assert [message.t // 3_600_000 for message in found[20:25]] == [20, 21, 22, 20, 23]
    assert (found[20].observed, found[23].observed) == (None, whole[20].values["y"])
    assert found[23].members == {}


def test_the_filters_learn_from_it_what_they_would_have_learned():
    """Right after it, all but the averages are as if it had come in time."""
    whole, holey = records(40), records(40, lacking=(39,))
    in_time, _, _ = run(whole)
    at_last, _, _ = run([*holey, whole[39]])
    never, _, _ = run(holey)
    slot = in_time._store["k"]
    expected, found, without = (stream_step._tables.rls.weights[slot] for stream_step in (in_time, at_last, never))
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, without)
    assert np.array_equal(at_last._tables.history.recent[slot], in_time._tables.history.recent[slot])


def test_it_counts_once_and_not_after_the_patience():
    whole, holey = records(30), records(30, lacking=(10, 20))
    _, found, dropped = run([*holey[:22], whole[20], whole[20], whole[10], whole[15], *holey[22:]])
    assert len(found) == 31
    assert dropped == ["out_of_order"] * 3
