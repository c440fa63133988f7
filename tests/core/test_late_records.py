"""A whole record that comes late goes into the history of its series; nothing is forecast from it."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.bus.port import Envelope
from driftline.messages import Blend, Forecast, Record
from driftline.streams.definition_files import parse
from driftline.worker.keyed import KeyedStep
from driftline_combiner.scores import scores
from driftline_combiner.step import BlendStep
from driftline_inference.step import ForecastStep

TEXT = (
    "name: a\ntime: {column: when, period: 10min}\nkey: id\ntarget: y\nfeatures: {x: level}\nlags: 8\n"
    "horizon: [1, 3]\npatience: 6\n"
)
STREAM = parse(TEXT, "a.yaml")
PERIOD_MS = 600_000
IN_ORDER = list(range(40))
LATE = [*range(22), 26, 27, 23, 24, 25, *range(28, 40)]
"""Ticks as they come: 22 never does, and three come after two later ones."""


def records(ticks: Sequence[int], lacking: tuple[int, ...] = ()) -> list[Record]:
    y = np.cumsum(np.random.default_rng(0).normal(size=400))
    return [
        Record("a", "k", n * PERIOD_MS, {"y": None if n in lacking else float(y[n]), "x": n % 5.0}, 0.0) for n in ticks
    ]


class Edge:
    """The steps of inference and combiner, one after the other."""

    def __init__(self) -> None:
        self.dropped: list[str] = []
        self.forecasts: list[Forecast] = []
        self.blends: list[Blend] = []
        self.forecasting = ForecastStep(STREAM, dict)
        self.blending = BlendStep(STREAM, lambda _stream, _kind: None)
        self._inference = KeyedStep({"a": self.forecasting}, lambda _stream, reason: self.dropped.append(reason))
        self._combiner = KeyedStep({"a": self.blending}, lambda _stream, reason: self.dropped.append(reason))

    def send(self, sent: Sequence[Record]) -> "Edge":
        outputs = self._inference.step([Envelope(0, n, 0.0, record) for n, record in enumerate(sent)])
        forecasts = [output.message for output in outputs if isinstance(output.message, Forecast)]
        blended = self._combiner.step([Envelope(0, n, 0.0, forecast) for n, forecast in enumerate(forecasts)])
        self.forecasts += forecasts
        self.blends += [output.message for output in blended if isinstance(output.message, Blend)]
        return self

    def recent(self) -> np.ndarray:
        history = self.forecasting._tables.history
        return history.recent[self.forecasting._store["k"]]

    def scored(self) -> list[int]:
        return [rows["persistence"].n for rows in scores(self.blending.sums("k"))]

    def state(self) -> tuple[bytes, bytes]:
        return self.forecasting.save("k"), self.blending.save("k")


def test_it_is_in_the_history_with_its_features():
    in_time, late = Edge().send(records(range(28))), Edge().send(records([n for n in LATE if n < 28]))
    lags = [n % STREAM.lags for n in range(23, 28)]
    assert np.array_equal(late.recent()[lags], in_time.recent()[lags])
    assert np.isnan(late.recent()[22 % STREAM.lags]).all(), "this one never came"
    assert late.dropped == []


def test_what_was_forecast_for_it_is_scored_and_nothing_is_forecast_from_it():
    late = Edge().send(records(LATE))
    times = [blend.t // PERIOD_MS for blend in late.blends]
    assert times == [n for n in IN_ORDER if n not in (22, 23, 24, 25)]
    # One ahead 23, 24 and 25 were not forecast, nor was 26; three ahead 23 and 24 were, 25 was not.
    with_gap = Edge().send(records([n for n in IN_ORDER if n not in (22, 23, 24, 25)]))
    assert np.subtract(late.scored(), with_gap.scored()).tolist() == [0, 2]
    (truths,) = [[f for f in late.forecasts if not f.members]]
    assert [f.t // PERIOD_MS for f in truths] == [23, 24, 25]


def test_beyond_the_patience_and_a_second_time_it_is_dropped_and_counted():
    late = Edge().send(records([0, 1, 2, 10, 4, 5, 5, 9]))
    assert late.dropped == ["out_of_order", "out_of_order"]
    assert [f.t // PERIOD_MS for f in late.forecasts] == [0, 1, 2, 10, 5, 9]


def test_one_without_its_target_may_get_it_later():
    edge = Edge().send(records([0, 1, 2, 5])).send(records([3], lacking=(3,)))
    assert len(edge.forecasts) == 4
    edge.send(records([3]))
    edge.send(records([3]))
    assert [f.t // PERIOD_MS for f in edge.forecasts[4:]] == [3]
    assert edge.dropped == ["out_of_order"]


def test_a_day_from_the_memory_of_a_logger_is_forecast_as_if_it_had_not_come():
    """But for the part within the patience."""
    late = Edge().send(records([*range(20), 164, *range(20, 164), 165]))
    assert late.dropped == ["out_of_order"] * 139
    assert len(late.blends) == 22


SENT = st.lists(st.tuples(st.integers(-9, 4), st.booleans()), min_size=1, max_size=50)
"""Of each record how far it is from the newest, and whether it has its target."""


def as_sent(steps: Sequence[tuple[int, bool]]) -> list[Record]:
    newest, sent = 20, list[Record]()
    for ahead, there in steps:
        tick = newest + ahead
        newest = max(newest, tick)
        sent += records([tick], lacking=() if there else (tick,))
    return sent


@given(steps=SENT, cuts=st.lists(st.integers(0, 50), max_size=5), restarts=st.booleans())
@settings(deadline=None, max_examples=40)
def test_neither_cuts_of_a_batch_nor_a_restart_make_a_difference(
    *, steps: list[tuple[int, bool]], cuts: list[int], restarts: bool
):
    sent = as_sent(steps)
    whole, cutting = Edge().send(sent), Edge()
    for begin, end in pairwise([0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]):
        cutting.send(sent[begin:end])
        if restarts and end:
            for step in (cutting.forecasting, cutting.blending):
                state = step.save("k")
                step.forget("k")
                step.restore("k", state)
    # As bytes, since NaN is not equal to itself.
    assert msgspec.msgpack.encode(cutting.forecasts) == msgspec.msgpack.encode(whole.forecasts)
    assert msgspec.msgpack.encode(cutting.blends) == msgspec.msgpack.encode(whole.blends)
    assert cutting.dropped == whole.dropped
    # A restart leaves out what is not looked at again.
    assert restarts or cutting.state() == whole.state()


def test_a_state_from_before_late_records_takes_none():
    """Which ticks were skipped is not in it."""
    edge = Edge().send(records([0, 1, 2, 5]))
    edge.forecasting._tables.late.t[:] = -1
    edge.send(records([4, 6, 8, 7]))
    assert [f.t // PERIOD_MS for f in edge.forecasts] == [0, 1, 2, 5, 6, 8, 7]
    assert edge.dropped == ["out_of_order"]
