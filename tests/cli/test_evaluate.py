"""Scores: every row on the same records, against the truth that came later."""

import math

import msgspec
import numpy as np
import pytest

from driftline.messages import Blend
from driftline_cli.evaluate import outcome, scores, windows


def blend(t: int, observed: float | None, rls: float | None, *, key: str = "k", batch: float | None = 0.0) -> Blend:
    members = {"persistence": [observed], "rls": [rls]} | ({} if batch is None else {"batch": [batch]})
    return Blend(
        stream="a",
        key=key,
        t=t,
        observed=observed,
        horizon=[1],
        value=[rls],
        strategy="online",
        strategies={"online": [rls]},
        weights={},
        members=members,
        versions={},
        received=0.0,
        times=[t + 1],
    )


def test_a_forecast_is_scored_with_the_next_value_of_its_own_key():
    found = scores(outcome([blend(0, 1.0, 3.0), blend(0, 9.0, 9.0, key="m"), blend(1, 3.0, 3.0)], 0))
    assert (found["rls"].n, found["rls"].rmse, found["rls"].skill) == (1, 0.0, 1.0)
    assert (found["persistence"].rmse, found["persistence"].mae, found["persistence"].skill) == (2.0, 2.0, 0.0)


def test_a_forecast_for_a_gap_is_not_scored():
    rows = scores(outcome([blend(t, float(t), float(t)) for t in (0, 1, 5, 6)], 0))
    assert rows["rls"].n == 2


def test_a_blend_of_a_former_release_says_no_times_and_is_not_scored():
    former = msgspec.structs.replace(blend(0, 1.0, 3.0), times=[])
    assert scores(outcome([former, blend(1, 3.0, 3.0)], 0))["rls"].n == 0


def test_all_rows_are_scored_on_the_records_where_all_forecast():
    blends = [blend(t, float(t), None if t == 3 else float(t), batch=1.0) for t in range(30)]
    assert {score.n for score in scores(outcome(blends, 0)).values()} == {28}


@pytest.mark.parametrize("late", [2, 8])
def test_a_member_that_came_late_is_scored_on_its_own_records_and_narrows_nobody(late: int):
    blends = [blend(t, float(t), float(t), batch=None if t < late else float(t)) for t in range(11)]
    found = scores(outcome(blends, 0))
    assert (found["rls"].n, found["batch"].n) == (10, 10 - late)


def test_repeats_count_once():
    blends = [blend(t, float(t), float(t)) for t in (0, 1, 1, 0, 2)]
    assert scores(outcome(blends, 0))["rls"].n == 2


def test_nothing_gives_nothing():
    assert scores(outcome([], 0)) == {}
    assert windows(outcome([], 0), 10) == []


def test_windows_are_stretches_of_the_run():
    blends = [blend(t, float(t), float(t)) for t in range(11)]
    found = windows(outcome(blends, 0), 4)
    assert [(window.start, window.end) for window in found] == [(0, 3), (4, 7), (8, 9)]
    assert found[0].rmse["rls"] == pytest.approx(1.0)


def test_a_row_that_never_forecast_is_said_to_have_none():
    found = scores(outcome([blend(t, float(t), None) for t in range(5)], 0))
    assert found["rls"].n == 0
    assert math.isnan(found["rls"].rmse)
    assert found["persistence"].n == 4
    assert np.isfinite(found["persistence"].rmse)
