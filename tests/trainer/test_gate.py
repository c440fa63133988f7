"""The gate: what is worse than its parent or persistence is refused, and what chance may do is granted."""

import numpy as np
import numpy.typing as npt
import pytest

from driftline.streams.model_sections import Gate
from driftline_trainer.gate import judge

pytestmark = pytest.mark.unit

HORIZON = (1, 6)


def hold_out(rows: int = 4000, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, 2)).astype(np.float32)


def test_a_better_candidate_passes_and_says_what_it_beat():
    truth = hold_out()
    report = judge(Gate(), HORIZON, 0.5 * truth, truth, parity=1e-7, parent=0.4 * truth)
    assert report.passed
    assert report.beaten == (
        "persistence: +50.0% at horizon 1, +50.0% at horizon 6; parent: +16.7% at horizon 1, +16.7% at horizon 6"
    )


@pytest.mark.parametrize(
    ("parent", "reason"),
    [(None, "worse than persistence at horizon 6"), (0.9, "worse than persistence at horizon 6")],
)
def test_a_candidate_that_is_worse_at_one_horizon_is_refused(parent: float | None, reason: str):
    truth = hold_out()
    forecast = truth * np.array([0.5, -0.5], dtype=np.float32)
    rival = None if parent is None else truth * np.float32(parent)
    report = judge(Gate(), HORIZON, forecast, truth, parity=0.0, parent=rival)
    assert not report.passed
    assert reason in report.reason
    assert "found RMSE 1." in report.reason


def test_a_candidate_that_is_worse_than_its_parent_is_refused():
    truth = hold_out()
    report = judge(Gate(), HORIZON, 0.3 * truth, truth, parity=0.0, parent=0.9 * truth)
    assert [check.name for check in report.failed] == ["parent", "parent"]


def test_what_chance_may_do_on_few_rows_is_granted():
    truth = hold_out(40)
    forecast = 0.3 * hold_out(40, seed=1)
    assert judge(Gate(), HORIZON, forecast, truth, parity=0.0, parent=None).passed


def test_what_is_not_finite_or_not_what_keras_says_is_refused():
    truth = hold_out()
    broken = np.where(truth > 3, np.nan, 0.5 * truth)
    assert "not finite" in judge(Gate(), HORIZON, broken, truth, parity=float("nan"), parent=None).reason
    assert "Keras" in judge(Gate(), HORIZON, 0.5 * truth, truth, parity=1e-3, parent=None).reason
