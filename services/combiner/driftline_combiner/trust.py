"""Whether a forecast can be trusted, from how it did of late: for thousands of series at once, and in words. Pure.

The same rules as in the page's `words.js`; docs/dashboard.md has them as a table.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np

from driftline.arrays import Floats, Ints, Mask
from driftline.members import MEMBERS, PERSISTENCE
from driftline.scoring import PUBLISHED, ROWS
from driftline.streams.horizon_rings import HorizonRings
from driftline_combiner.intervals import Intervals
from driftline_combiner.ledger import MEMBER_COUNT, Ledger

INTERVAL = 0.9
"""Share of the truths that the prediction interval should hold."""
ENOUGH = 50
"""Truths that it takes to judge."""
NEWEST = 500
"""Truths that the share held is of, about."""
SHORT = 0.05
"""By so much less than INTERVAL an interval is too narrow ..."""
CERTAIN = 2.0
"""... and by so many standard deviations of chance, where truths are few."""
AS_GOOD = 1.1
"""Up to so many times the best member's error the blend is as good."""
FAR_WORSE = 1.5
EVEN = 0.005
"""A skill that is no whole percent is told as none."""


class Verdict(StrEnum):
    """How far a forecast can be trusted."""

    UNKNOWN = "unknown"
    GOOD = "good"
    CARE = "care"
    BAD = "bad"


@dataclass(frozen=True)
class TrustRule:
    """What is answered where its condition is the first that holds; `{rival}` is the best member."""

    verdict: Verdict
    answer: str


RULES = (
    TrustRule(Verdict.UNKNOWN, "Not known yet"),
    TrustRule(Verdict.BAD, "Only as persistence"),
    TrustRule(Verdict.BAD, "No, {rival} is far better"),
    TrustRule(Verdict.BAD, "Not more than the last value"),
    TrustRule(Verdict.BAD, "No, its interval misses most"),
    TrustRule(Verdict.CARE, "The value, but not the interval"),
    TrustRule(Verdict.CARE, "Mostly, but {rival} is better"),
    TrustRule(Verdict.GOOD, "Yes"),
)
UNKNOWN, GUARDED = 0, 1
"""Their places among the rules."""


@dataclass(frozen=True)
class Standings:
    """How n series did of late at one horizon."""

    rmse: Floats
    """[n, rows]: recent errors of members, strategies and the blend in the target's unit, NaN where not known."""
    guarded: Mask
    """[n]: whether persistence is published."""
    met: Floats
    """[n]: truths that met an interval."""
    share: Floats
    """[n]: of the newest of them that it held."""

    @classmethod
    def of(cls, ledger: Ledger, rings: HorizonRings, intervals: Intervals, slots: Ints, horizon: int) -> Self:
        """horizon: its place among the stream's. A member that did not forecast last is not looked at."""
        now = rings.places(ledger.tick[slots, None])[:, horizon]
        rmse = np.sqrt(ledger.recent[slots, horizon])
        absent = ~np.isfinite(ledger.members[slots, now])
        rmse[:, :MEMBER_COUNT][absent] = np.nan
        return cls(
            rmse, ledger.guarded[slots, horizon], intervals.scored[slots, horizon], intervals.recent[slots, horizon]
        )


@dataclass(frozen=True)
class Judgements:
    """Of n series."""

    rule: Ints
    """[n]: the place among RULES of the one that holds."""
    skill: Floats
    """[n]: 1 - recent RMSE / that of persistence; NaN where not known."""
    rival: Ints
    """[n]: the best member's place among all."""
    ratio: Floats
    """[n]: the blend's error as so many times the best member's."""
    share: Floats
    met: Floats

    def verdict(self, index: int) -> Verdict:
        return RULES[self.rule[index]].verdict

    def answer(self, index: int) -> str:
        return RULES[self.rule[index]].answer.format(rival=MEMBERS[self.rival[index]])

    def why(self, index: int) -> str:
        """What the answer rests on, in a sentence or two."""
        if self.rule[index] == UNKNOWN:
            return f"{int(self.met[index])} of the {ENOUGH} truths have come that it takes to judge."
        held = f"The 90 % interval held {_percent(float(self.share[index]))} of the newest truths."
        if self.rule[index] == GUARDED:
            return f"The blend fell behind, so the last value is published. {held}"
        return f"{_against(float(self.skill[index]))}{self._rivalled(index)}. {held}"

    def _rivalled(self, index: int) -> str:
        ratio = float(self.ratio[index])
        return f", but {ratio:.2g} times that of {MEMBERS[self.rival[index]]}" if ratio > AS_GOOD else ""


def _against(skill: float) -> str:
    if not np.isfinite(skill):
        return "Repeating the last value made no error"
    if abs(skill) < EVEN:
        return "About as much error as repeating the last value"
    return f"{_percent(abs(skill))} {'less' if skill >= 0 else 'more'} error than repeating the last value"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def judged(standings: Standings) -> Judgements:
    """The first rule that holds for each."""
    blend, persistence = (standings.rmse[:, ROWS.index(row)] for row in (PUBLISHED, PERSISTENCE))
    members = np.where(np.isfinite(standings.rmse[:, :MEMBER_COUNT]), standings.rmse[:, :MEMBER_COUNT], np.inf)
    rival = members.argmin(axis=1)
    best = members[np.arange(len(rival)), rival]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(np.isfinite(best), np.where(blend == best, 1.0, blend / best), 1.0)
        skill = np.where(persistence > 0, 1 - blend / persistence, np.nan)
        chance = CERTAIN * np.sqrt(INTERVAL * (1 - INTERVAL) / np.clip(standings.met, 1, NEWEST))
    narrow = INTERVAL - standings.share > np.maximum(SHORT, chance)
    holds = [
        ~np.isfinite(blend) | (standings.met < ENOUGH),
        standings.guarded,
        ratio >= FAR_WORSE,
        ~(skill > 0),
        narrow & (standings.share < INTERVAL / 2),
        narrow,
        ratio > AS_GOOD,
    ]
    rule = np.select(holds, list(range(len(holds))), default=len(holds)).astype(np.int64)
    return Judgements(rule, skill, rival.astype(np.int64), ratio, standings.share, standings.met)
