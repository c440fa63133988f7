"""Series that were silent for long are forgotten: by the records' own time, wherever batches are cut."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.bus.port import Envelope
from driftline.messages import ALERTS, BLENDS, Alert, Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.worker.keyed import KeyedStep
from driftline.worker.partition_states import AT_ONCE
from driftline.worker.saved_states import OffsetState
from driftline.worker.silence import Heard
from driftline.worker.stream_step import Age, Emission
from driftline_inference.step import ForecastStep
from tests.e2e.stream_steps import StreamSteps

LONGEST = 10
T, FUTURE = 1_772_366_400_000, 4_102_358_400_000
"""2026 and 2099, in milliseconds since the epoch."""
KEYS = ("a", "b", "c")


class Counting:
    """A real lane that counts the records of each series, and tells each count."""

    longest_silence = LONGEST
    ahead = 300
    replaying = False

    def __init__(self) -> None:
        self.series: dict[str, tuple[int, int]] = {}

    def work(self, messages: Sequence[Record]) -> list[list[Emission]]:
        return [[self._count(message)] for message in messages]

    def _count(self, message: Record) -> Emission:
        count = self.series.get(message.key, (0, 0))[0] + 1
        self.series[message.key] = (count, message.t)
        return ALERTS, Alert("s", message.key, message.t, "gap", "y", str(count))

    def lacks(self, message: Record) -> bool:
        return False

    def is_future(self, message: Record) -> bool:
        return False

    def foresee(self, message: Record) -> bool:
        raise AssertionError(message)

    def awaits(self, message: Record) -> bool:
        return False

    def complete(self, message: Record) -> list[Emission]:
        raise AssertionError(message)

    def group_of(self, key: str) -> str:
        return ""

    def last_t(self, key: str) -> int | None:
        return self.series[key][1] if key in self.series else None

    def save(self, key: str, heard: int | None = None) -> bytes:
        return " ".join(map(str, [*self.series[key], *([] if heard is None else [heard])])).encode()

    def restore(self, key: str, data: bytes) -> Age:
        count, t, *heard = map(int, data.split())
        self.series[key] = (count, t)
        return Age(t, heard[0] if heard else None)

    def forget(self, key: str) -> None:
        self.series.pop(key, None)


def new() -> tuple[Counting, KeyedStep[Record]]:
    stream_step = Counting()
    return stream_step, KeyedStep({"s": stream_step}, lambda *_: None)


def envelopes(sent: Sequence[tuple[str, int]], first: int = 0) -> list[Envelope[Record]]:
    return [Envelope(0, n, 0.0, Record("s", key, t, {}, 0.0)) for n, (key, t) in enumerate(sent, first)]


def saved(step: KeyedStep[Record]) -> dict[str, OffsetState | None]:
    return {name: None if state is None else OffsetState.decode(state) for name, state in step.snapshot(0).items()}


def told(step: KeyedStep[Record], batch: Sequence[Envelope[Record]]) -> list[str]:
    alerts = [output.message for output in step.step(batch) if isinstance(output.message, Alert)]
    return [f"{alert.key} {alert.t} {alert.detail}" for alert in alerts]


SENT = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 60)), max_size=60)


def test_a_silent_series_is_forgotten_and_its_state_deleted():
    stream_step, step = new()
    step.step(envelopes([("a", 1), ("b", 2)]))
    assert saved(step) == {"s/a": OffsetState(2, b"1 1 1"), "s/b": OffsetState(2, b"1 2 2")}
    step.step(envelopes([("b", 12)], 2))
    assert saved(step) == {"s/a": OffsetState(3, None), "s/b": OffsetState(3, b"2 12 12")}
    assert set(stream_step.series) == {"b"}


def test_a_state_is_deleted_once_no_restart_reads_what_was_before_its_end():
    _, step = new()
    step.step(envelopes([("a", 1), ("b", 12)]))
    assert saved(step) == {"s/a": OffsetState(2, None), "s/b": OffsetState(2, b"1 12 12")}
    for restart, deleted in ((0, {}), (1, {}), (2, {"s/a": None}), (9, {})):
        step.begin_round(0, restart)
        assert step.snapshot(0) == deleted


def test_a_series_that_comes_back_starts_anew():
    _, step = new()
    assert told(step, envelopes([("a", 1), ("a", 2), ("b", 13), ("a", 13)])) == ["a 1 1", "a 2 2", "b 13 1", "a 13 1"]


def test_a_history_that_is_sent_key_by_key_is_not_forgotten_while_it_comes():
    _, step = new()
    sent = [(key, t) for key in ("a", "b") for t in range(1, 40)]
    assert told(step, envelopes(sent))[-1] == "b 39 39"


@given(SENT, st.lists(st.integers(0, 60), max_size=5))
def test_where_batches_are_cut_makes_no_difference(sent: list[tuple[str, int]], cuts: list[int]):
    (whole_lane, whole), (cut_lane, cut) = new(), new()
    batch = envelopes(sent)
    expected, found = told(whole, batch), []
    for begin, end in pairwise([0, *sorted(min(place, len(batch)) for place in cuts), len(batch)]):
        found += told(cut, batch[begin:end])
    assert found == expected
    assert cut_lane.series == whole_lane.series
    assert cut.snapshot(0) == whole.snapshot(0)


@given(SENT, st.lists(st.integers(0, 60), max_size=4), st.integers(1, 3))
def test_where_a_restart_cuts_makes_no_difference(sent: list[tuple[str, int]], cuts: list[int], part: int):
    whole_lane, whole = new()
    batch = envelopes(sent)
    expected = told(whole, batch)
    states: dict[str, bytes | None] = {}
    found: list[str] = []
    stream_step, step = new()
    for begin, end in pairwise([0, *sorted(min(place, len(batch)) for place in cuts), len(batch)]):
        found += told(step, batch[begin:end])
        while given := step.snapshot(0, part):
            assert len(given) <= part
            states |= given
        stream_step, step = new()
        items = list(states.items())
        for first in range(0, len(items), part):
            step.restore(0, dict(items[first : first + part]))
    assert found == expected
    assert stream_step.series == whole_lane.series


def test_later_parts_win_and_nothing_forgets():
    stream_step, step = new()
    for part in ({"s/a": b"1 1 1", "s/b": b"1 1 1"}, {"s/a": b"5 3 3"}, {"s/b": None}):
        step.restore(0, part)
    assert stream_step.series == {"a": (5, 3)}


def arrived(key: str, t: int) -> Envelope[Record]:
    return Envelope(0, 0, T / 1000, Record("s", key, t, {"y": 1.0}, T / 1000))


def test_states_of_the_release_before_are_as_alive_as_any():
    stream_step, step = new()
    step.restore(0, {"s/a": b"7 1", "s/b": b"9 500"})
    step.step(envelopes([("b", 501)]))
    assert stream_step.series == {"a": (7, 1), "b": (10, 501)}
    step.step(envelopes([("b", 511)]))
    assert set(stream_step.series) == {"a", "b"}
    step.step(envelopes([("b", 512)]))
    assert set(stream_step.series) == {"b"}


def test_a_time_that_can_not_be_forgets_nobody():
    """Neither one that comes, nor one that was kept before such times were refused."""
    stream_step, step = new()
    step.restore(0, {"s/lost": f"7 {FUTURE}".encode()})
    step.step([arrived(key, T) for key in "ab"])
    step.step([arrived("c", FUTURE), arrived("a", T + 1)])
    assert set(stream_step.series) == {"a", "b", "c", "lost"}
    renewed_lane, renewed = new()
    renewed.restore(0, step.snapshot(0))
    renewed.restore(0, {"s/lost": f"7 {FUTURE}".encode()})
    renewed.step([arrived("b", T + 2)])
    assert set(renewed_lane.series) == {"a", "b", "c", "lost"}


def test_many_series_of_a_partition_are_let_go_in_parts():
    stream_step, step = new()
    step.restore(0, {f"s/k{n}": b"1 1 1" for n in range(250)})
    step.restore(1, {"s/other": b"1 1 1"})
    left = []
    while step.release(0):
        left.append(len(stream_step.series))
    assert left == [151, 51]
    assert list(stream_step.series) == ["other"]


def test_a_series_on_two_partitions_keeps_its_slot_while_one_has_it():
    stream_step, step = new()
    step.restore(0, {"s/a": b"1 1 1"})
    step.restore(1, {"s/a": b"2 2 2"})
    step.release(0)
    assert stream_step.series == {"a": (2, 2)}
    step.release(1)
    assert stream_step.series == {}


def test_of_a_series_on_two_partitions_the_newer_state_stays():
    """A series that moved, since topics grew or it belongs to a group by now, leaves an old state where it was."""
    for older, newer in ((0, 1), (1, 0)):
        for first, second in ((older, newer), (newer, older)):
            stream_step, step = new()
            for partition in (first, second):
                step.restore(partition, {"s/a": b"1 1 1" if partition == older else b"2 2 2"})
            assert stream_step.series == {"a": (2, 2)}


def test_many_silent_series_are_forgotten_over_several_batches():
    stream_step, step = new()
    step.step(envelopes([(f"k{n}", 1) for n in range(2 * AT_ONCE + 20)]))
    left = []
    for n in range(3):
        step.step(envelopes([("late", 100 + n)]))
        left.append(len(stream_step.series))
    assert left == [AT_ONCE + 21, 21, 1]


def test_restored_series_are_forgotten_in_the_order_of_their_last_records():
    heard = Heard()
    heard.restore("new", 20)
    heard.restore("old", 5)
    heard.hear("now", 31)
    assert heard.first_silent(LONGEST) == "old"
    heard.forget("old")
    assert heard.first_silent(LONGEST) == "new"


TEXT = "name: s\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nlags: 2\npatience: 1\nforget: 10h\n"
STREAM, GROUPED = parse(TEXT, "s.yaml"), parse(f"{TEXT}group: all\n", "s.yaml")


def hours(key: str, first: int, last: int) -> list[Record]:
    return [Record("s", key, hour * 3_600_000, {"y": float(hour)}, 0.0) for hour in range(first, last)]


def test_both_lanes_forget_and_begin_anew():
    stream_steps, fresh = StreamSteps(STREAM), StreamSteps(STREAM)
    stream_steps.run([*hours("k", 1, 5), *hours("m", 1, 30)])
    assert stream_steps.forecasting.last_t("k") is stream_steps.blending.last_t("k") is None
    (blends, alerts), (expected, expected_alerts) = (each.run(hours("k", 30, 40)) for each in (stream_steps, fresh))
    # As they are sent: two NaN are not equal.
    assert [BLENDS.encode(blend) for blend in blends] == [BLENDS.encode(blend) for blend in expected]
    assert alerts == expected_alerts


def forecasting(stream: StreamDefinition) -> tuple[ForecastStep, KeyedStep[Record]]:
    stream_step = ForecastStep(stream, dict)
    return stream_step, KeyedStep({"s": stream_step}, lambda *_: None)


def test_a_state_from_before_there_were_groups_takes_no_newer_one_away():
    """The partition that a series has left keeps it in its checkpoint, and a restart reads both."""
    (_, alone), (_, grouped), (restarted, step) = map(forecasting, (STREAM, GROUPED, GROUPED))
    alone.step([Envelope(0, n, 0.0, record) for n, record in enumerate(hours("k", 1, 5))])
    grouped.step([Envelope(1, n, 0.0, replace(record, group="all")) for n, record in enumerate(hours("k", 5, 8))])
    step.restore(1, grouped.snapshot(1))
    step.restore(0, alone.snapshot(0))
    assert restarted.last_t("k") == 7 * 3_600_000
