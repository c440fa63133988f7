"""Which forecasts can be trusted, of many series at once."""

import numpy as np
import pytest

from driftline.members import MEMBERS
from driftline.scoring import ROWS
from driftline_combiner.trust import Standings, Verdict, judged


def standings(
    blend: float, rival: float, persistence: float, *, met: float = 500, share: float = 0.9, guarded: bool = False
) -> Standings:
    """Of one series; `rls` is the rival."""
    rmse = np.full((1, len(ROWS)), np.nan)
    for row, error in (("blend", blend), ("rls", rival), ("persistence", persistence)):
        rmse[0, ROWS.index(row)] = error
    return Standings(rmse, np.array([guarded]), np.array([met]), np.array([share]))


@pytest.mark.parametrize(
    ("series", "verdict", "answer"),
    [
        (standings(1.0, 1.0, 2.0), Verdict.GOOD, "Yes"),
        (standings(1.0, 1.0, 2.0, met=49), Verdict.UNKNOWN, "Not known yet"),
        (standings(np.nan, 1.0, 2.0), Verdict.UNKNOWN, "Not known yet"),
        (standings(1.0, 1.0, 2.0, guarded=True), Verdict.BAD, "Only as persistence"),
        (standings(1.5, 1.0, 2.0), Verdict.BAD, "No, rls is far better"),
        (standings(2.0, 2.0, 2.0), Verdict.BAD, "Not more than the last value"),
        (standings(0.0, 0.0, 0.0), Verdict.BAD, "Not more than the last value"),
        (standings(1.0, 1.0, 2.0, share=0.44), Verdict.BAD, "No, its interval misses most"),
        (standings(1.0, 1.0, 2.0, share=0.84), Verdict.CARE, "The value, but not the interval"),
        (standings(1.0, 1.0, 2.0, share=0.84, met=50), Verdict.GOOD, "Yes"),
        (standings(1.2, 1.0, 2.0), Verdict.CARE, "Mostly, but rls is better"),
    ],
)
def test_the_first_rule_that_holds_is_the_answer(series: Standings, verdict: Verdict, answer: str) -> None:
    judgements = judged(series)
    assert (judgements.verdict(0), judgements.answer(0)) == (verdict, answer)
    assert "nan" not in judgements.why(0)


def test_the_reason_names_skill_rival_and_coverage() -> None:
    assert judged(standings(1.2, 1.0, 2.0, share=0.91)).why(0) == (
        "40 % less error than repeating the last value, but 1.2 times that of rls. "
        "The 90 % interval held 91 % of the newest truths."
    )


@pytest.mark.parametrize("blend", [1.996, 2.004])
def test_a_difference_of_less_than_half_a_percent_is_told_as_none(blend: float) -> None:
    assert judged(standings(blend, 2.0, 2.0)).why(0).startswith("About as much error as repeating the last value. ")


def test_many_are_judged_as_each_alone() -> None:
    alone = [standings(1.0, 1.0, 2.0), standings(3.0, 1.0, 2.0), standings(1.0, np.nan, np.nan)]
    together = judged(
        Standings(
            *(np.concatenate([getattr(one, name) for one in alone]) for name in ("rmse", "guarded", "met", "share"))
        )
    )
    assert [together.answer(n) for n in range(3)] == [judged(one).answer(0) for one in alone]
    assert MEMBERS[together.rival[1]] == "rls"
