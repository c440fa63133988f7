"""Known futures: they come between the records, cause nothing by themselves, and are inputs of what comes after."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.bus.port import Envelope
from driftline.messages import FORECASTS, Forecast, Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.features import Inputs
from driftline.streams.layout import Layout
from driftline.streams.rows import FutureRows, Rows
from driftline.worker.keyed import KeyedStep
from driftline_inference.step import ForecastStep, refuse
from driftline_trainer.datasets import building

pytestmark = pytest.mark.unit

HOUR_MS = 3_600_000
TEXT = "name: a\ntime: {column: when, period: 1h}\nkey: k\ntarget: y\nlags: 3\nhorizon: [1, 2]\n"
PLAIN = parse(TEXT, "a")
FUTURES = "futures: {f: level, d: angle}\n"
STREAM = parse(f"{TEXT}{FUTURES}", "a")
TOGETHER = parse(f"{TEXT}{FUTURES}group: all\ntogether: true\n", "a")


class Watching:
    """A model that keeps what it is fed with."""

    version = "v1"
    skills: tuple[float, ...] = ()

    def __init__(self) -> None:
        self.inputs: list[Inputs] = []

    def forecast(self, inputs: Inputs) -> np.ndarray:
        self.inputs.append(inputs)
        return np.repeat(inputs.last[:, None], 2, axis=1)

    @property
    def net(self) -> np.ndarray:
        return np.concatenate([inputs.net for inputs in self.inputs])


def record(hour: int, value: float | None, key: str = "u") -> Record:
    return Record("a", key, hour * HOUR_MS, {"y": value}, 0.0)


def future(issued: int, hour: int, f: float | None, d: float | None = None, key: str = "u") -> Record:
    return Record("a", key, hour * HOUR_MS, {"f": f, "d": d}, 0.0, issued=issued * HOUR_MS)


def new_step(model=None, dropped=lambda _stream, _reason: None, stream=STREAM) -> KeyedStep[Record]:
    serving = {("a", "batch"): model} if model else {}
    return KeyedStep({"a": ForecastStep(stream, lambda: serving)}, dropped)


def run(step: KeyedStep[Record], sent: list[Record], first: int = 0) -> list[Forecast]:
    outputs = step.step([Envelope(0, first + n, 0.0, message) for n, message in enumerate(sent)])
    return [output.message for output in outputs if isinstance(output.message, Forecast)]


def wire(forecasts: list[Forecast]) -> list[bytes]:
    """As they travel: a missing number equals a missing number."""
    return [FORECASTS.encode(forecast) for forecast in forecasts]


def day(hours: int, keys: str = "uv", seed: int = 0) -> list[Record]:
    """Records, and before each of them what is issued then: for some of the hours to come, some of it missing."""
    random = np.random.default_rng(seed)
    sent: list[Record] = []
    for hour in range(hours):
        for key in keys:
            for ahead in range(4):
                f = None if random.random() < 0.2 else float(random.normal())
                if hour and random.random() < 0.6:
                    sent.append(future(hour, hour + ahead, f, float(random.uniform(0, 360)), key))
            sent.append(record(hour, None if random.random() < 0.1 else float(random.normal()), key))
    return sent


def test_a_future_causes_no_forecast_and_later_times_go_on_to_come():
    forecasts = run(new_step(), [record(0, 1.0), future(0, 3, 5.0), record(1, 2.0), record(2, 3.0), record(3, 4.0)])
    assert [forecast.t // HOUR_MS for forecast in forecasts] == [0, 1, 2, 3]


def test_a_future_moves_the_inputs_of_the_times_that_it_is_for():
    model, layout = Watching(), Layout.of(STREAM)
    run(new_step(model), [record(0, 1.0), future(1, 1, 5.0), future(1, 3, 7.0, 90.0), record(1, 2.0)])
    assert model.net.shape == (2, layout.net_width)
    # Each horizon's moves of both, then its level, then sine and cosine: one step ahead nothing is known.
    moves, levels, turned = np.split(model.net[1, -10:], [4, 6])
    assert moves.tolist() == [0, 0, 2, 0]
    assert levels[0] == 0 < levels[1]
    assert turned.tolist() == pytest.approx([0, 0, 1, 0], abs=1e-6)


@pytest.mark.parametrize(
    "ignored",
    [
        future(2, 2, 9.0),  # issued after the record of hour 1
        future(1, 27, 9.0),  # further ahead than a day and the horizon
        future(0, -1, 9.0),  # behind the newest record
        future(5, 3, 9.0),  # after its time
        future(1, 3, 9.0, key="stranger"),
    ],
)
def test_what_was_issued_later_or_can_not_be_kept_changes_nothing(ignored: Record):
    with_it, without = Watching(), Watching()
    run(new_step(with_it), [record(0, 1.0), ignored, record(1, 2.0)])
    run(new_step(without), [record(0, 1.0), record(1, 2.0)])
    np.testing.assert_array_equal(with_it.net, without.net)


def test_what_is_not_kept_is_counted():
    dropped: list[str] = []
    run(new_step(dropped=lambda _, reason: dropped.append(reason)), [future(0, 2, 1.0), record(0, 1.0)])
    assert dropped == ["not_kept"]


@pytest.mark.parametrize("stream", [STREAM, TOGETHER])
@given(cuts=st.lists(st.integers(0, 140), max_size=4))
@settings(max_examples=15, deadline=None)
def test_where_a_batch_is_cut_makes_no_difference(stream: StreamDefinition, cuts: list[int]):
    sent = day(20)
    whole = wire(run(new_step(stream=stream), sent))
    step, ends = new_step(stream=stream), sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    parts = [forecast for begin, end in pairwise(ends) for forecast in run(step, sent[begin:end], begin)]
    assert wire(parts) == whole


@pytest.mark.parametrize("stream", [STREAM, TOGETHER])
@pytest.mark.parametrize("cut", [1, 20, 61])
def test_restored_it_goes_on_bit_by_bit(stream: StreamDefinition, cut: int):
    sent = day(20)
    whole = wire(run(new_step(stream=stream), sent))
    before, after = new_step(stream=stream), new_step(stream=stream)
    earlier = run(before, sent[:cut])
    after.restore(0, before.snapshot(0))
    assert wire(earlier + run(after, sent[cut:], cut)) == whole


def test_a_future_alone_changes_the_state_that_is_saved():
    step = new_step()
    run(step, [record(0, 1.0)])
    before = step.snapshot(0)
    run(step, [future(0, 1, 5.0)], 1)
    assert step.snapshot(0).keys() == before.keys()


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_training_sees_what_the_edge_sees(seed: int):
    sent = day(40, "u", seed)
    model = Watching()
    forecasts = run(new_step(model), sent)
    records = [message for message in sent if message.issued is None]
    futures = [message for message in sent if message.issued is not None]
    # In any order of the table.
    np.random.default_rng(seed).shuffle(futures)
    table = FutureRows(
        np.array([message.key for message in futures]),
        np.array([message.issued for message in futures], dtype=np.int64),
        np.array([message.t for message in futures]),
        np.array([[message.values["f"], message.values["d"]] for message in futures], dtype=np.float64),
    )
    values = np.array([[message.values["y"]] for message in records], dtype=np.float64)
    keys, times = np.array(["u"] * len(records)), np.array([message.t for message in records])
    built = building.build(Rows(keys, times, values, futures=table), STREAM)
    by_t = {forecast.t: row for forecast, row in zip(forecasts, model.net, strict=True)}
    assert len(built) > 10
    for t, row in zip(built.t.tolist(), built.inputs, strict=True):
        np.testing.assert_array_equal(row, by_t[t])


@pytest.mark.parametrize(("before", "least", "most"), [(2, 0.85, 1.0), (0, -0.2, 0.2)])
def test_the_filter_learns_what_is_known_ahead(before: int, least: float, most: float):
    """From the truth itself, issued so many hours before its time; nobody could forecast it from its past."""
    y = np.random.default_rng(0).normal(size=600).cumsum()
    sent: list[Record] = []
    for hour, value in enumerate(y.tolist()):
        ahead = hour + before
        sent += [*([future(hour, ahead, float(y[ahead]))] if ahead < len(y) else []), record(hour, value)]
    forecasts = run(new_step(), sent)
    rls = np.array([forecast.members["rls"][1] for forecast in forecasts[300:-2]])
    skill = 1 - np.sqrt(np.mean((rls - y[302:]) ** 2) / np.mean((y[300:-2] - y[302:]) ** 2))
    assert least < skill < most


def test_a_stream_without_futures_keeps_its_state_as_it_was():
    plain, other = ForecastStep(PLAIN, dict), ForecastStep(STREAM, dict)
    for step in (plain, other):
        step.work([record(0, 1.0)])
    assert plain._tables.foreseen.values.size == 0
    assert len(plain.save("u")) < len(other.save("u"))
    assert Layout.of(PLAIN).net_width == Layout.of(STREAM).net_width - 10


def test_a_future_needs_the_columns_of_futures_and_a_stream_that_has_some():
    assert refuse({"a": STREAM}, future(0, 1, 1.0)) is None
    assert refuse({"a": STREAM}, record(0, 1.0)) is None
    bare = Record("a", "u", 0, {"y": 1.0}, 0.0, issued=0)
    assert refuse({"a": STREAM}, bare) == "found no value for 'f', expected ['f', 'd']"
    assert refuse({"a": PLAIN}, future(0, 1, 1.0)) == "found a future, expected none: stream 'a' has no `futures`"
