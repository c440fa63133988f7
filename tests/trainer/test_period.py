"""A history whose records are not as far apart as the definition says is refused with both lengths."""

import numpy as np
import pytest

from driftline.streams.definition import parse
from driftline.streams.tables import Rows
from driftline_trainer.period import contradiction

STREAM = parse("name: a\ntime: {column: when, period: 10min}\nkey: k\ntarget: y\n", "a")


def history(minutes: np.ndarray, keys: int = 2) -> Rows:
    t = np.repeat(minutes * 60_000, keys).astype(np.int64)
    return Rows(np.array([f"k{n % keys}" for n in range(len(t))]), t, np.zeros((len(t), 1)))


def test_a_period_that_the_records_have_is_right_whatever_is_missing():
    minutes = np.arange(1000.0) * 10 + np.random.default_rng(0).uniform(-4, 4, 1000)
    kept = np.random.default_rng(1).random(1000) < 0.7
    assert contradiction(history(minutes), STREAM) is None
    assert contradiction(history(minutes[kept]), STREAM) is None


@pytest.mark.parametrize(("minutes", "length"), [(5, "5 min"), (60, "1 h"), (0.5, "30 s"), (1440, "1 d")])
def test_another_one_is_named(minutes: float, length: str):
    expected = f"found most records {length} apart, expected the definition's period of 10 min"
    assert contradiction(history(np.arange(300) * minutes), STREAM) == expected


def test_of_a_few_records_nothing_is_said():
    assert contradiction(history(np.arange(20) * 5.0), STREAM) is None
