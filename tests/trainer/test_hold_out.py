"""What is held out, and what must not be learned from before it."""

import numpy as np
import pytest

from driftline.arrays import Ints
from driftline.streams.definition import StreamDefinition
from driftline_trainer.datasets.dataset import Dataset
from driftline_trainer.hold_out import MOST_ROWS, ROWS, SPAN_MS, cut_time, split

pytestmark = pytest.mark.unit

STEP = 600_000
HORIZON = 36


@pytest.fixture
def stream(temperature: StreamDefinition) -> StreamDefinition:
    return temperature.model_copy(update={"horizon": (1, HORIZON)})


def dataset(t: Ints) -> Dataset:
    """Inputs hold the row's number."""
    inputs = np.arange(len(t), dtype=np.float32)[:, None]
    return Dataset(inputs, np.zeros((len(t), 2), np.float32), t)


def in_turn(records: int, keys: int) -> Ints:
    return np.repeat(np.arange(records, dtype=np.int64) * STEP, keys)


def test_all_keys_are_cut_at_one_time(stream: StreamDefinition):
    learned, held = split(dataset(in_turn(1000, 3)), stream)
    assert learned.t.max() < held.t.min()
    assert len(held) == 3 * 100


def test_no_row_is_learned_from_whose_truth_lies_in_the_hold_out(stream: StreamDefinition):
    learned, held = split(dataset(in_turn(1000, 3)), stream)
    assert learned.t.max() + HORIZON * STEP == held.t.min() - STEP
    assert len(learned) == 3 * (900 - HORIZON)


def test_a_silence_before_the_end_leaves_the_hold_out_as_large(stream: StreamDefinition):
    t = in_turn(1000, 1)
    t[-3:] += 365 * 24 * 6 * STEP
    learned, held = split(dataset(t), stream)
    assert len(held) == 100
    assert len(learned) == 900 - HORIZON


def test_a_long_history_holds_out_no_more_than_is_enough():
    t = in_turn(200_000, 1)
    assert (t >= cut_time(t)).sum() == ROWS


def test_what_many_keys_measure_at_once_is_held_out_for_two_weeks(stream: StreamDefinition):
    t = in_turn(30_000, 20)
    assert t[-1] - cut_time(t) == SPAN_MS
    _, held = split(dataset(t), stream)
    assert len(held) == MOST_ROWS
    assert (np.diff(held.inputs[:, 0]) > 0).all()
    assert t[-1] - held.t[0] > 0.99 * SPAN_MS


def test_one_row_is_held_out_of_few():
    assert cut_time(np.array([5, 6, 7])) == 7
