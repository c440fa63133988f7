"""Whether a version is worse than the one before it, by what all edges say that run it. Pure.

Each edge's shadow bets (see `driftline_inference.shadow`): its wealth is an e-value, whose mean is at most 1 while the
version is no worse. Edges of one site see the same weather, so their e-values depend on each other; the arithmetic mean
of e-values is one whatever their dependence (Vovk and Wang, "E-values: calibration, combination and applications",
Annals of Statistics 49, 2021). docs/decisions/0038 has the error rates.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from driftline.fleet.heartbeat import Comparison, Heartbeat

WORSE = 100.0
"""Mean evidence from which a version counts as worse."""
NOT_WORSE = 20.0
"""Mean evidence of the other side from which it counts as not worse."""
NOTHING_WON = 1 + 1e-9
"""Mean evidence of bets that have not paid off, but for rounding."""
MOST_EVIDENCE = 1000.0
"""What one edge's evidence counts at most: there its own shadow goes back, and an edge that lies says no more."""
MOST_NOT_WORSE = 100.0
"""The same on the other side: at least a fifth of a stage's edges must be convinced, whatever one of them says."""
MOST_TRUTHS = 2000
"""Truths that one edge counts at most: then its shadow is over."""

Verdict = Literal["worse", "passed", "waits"]


@dataclass(frozen=True)
class EdgeReport:
    """What an edge says of a version. went_back: why it left the version, None while it has not."""

    edge: str
    comparison: Comparison | None
    went_back: str | None
    newcomer: bool = True
    """Whether it came in with the stage that runs."""

    @property
    def says_something(self) -> bool:
        return self.comparison is not None or self.went_back is not None

    @property
    def truths(self) -> int:
        return max(0, min(MOST_TRUTHS, self.comparison.truths)) if self.comparison else 0

    @property
    def worse(self) -> float:
        """An e-value; an edge that was told to go back by hand counts as much as WORSE: that is no bet, but a person's
        word, which alone decides for the edges that it speaks for."""
        bet = _evidence(self.comparison.log_worse, MOST_EVIDENCE) if self.comparison else 1.0
        return max(bet, WORSE) if self.went_back is not None else bet

    @property
    def not_worse(self) -> float:
        bet = _evidence(self.comparison.log_not_worse, MOST_NOT_WORSE) if self.comparison else 1.0
        return 0.0 if self.went_back is not None else bet

    @property
    def is_over(self) -> bool:
        return self.went_back is not None or (self.comparison is not None and self.comparison.over)


@dataclass(frozen=True)
class Pooled:
    """The reports of several edges in one."""

    edges: int
    reporting: int
    """... of which so many have compared both versions on a truth, or went back."""
    truths: int
    worse: float
    """Mean evidence; 1 without any."""
    not_worse: float
    over: bool
    """Whether no edge has anything more to compare."""
    went_back: int

    @property
    def is_worse(self) -> bool:
        """A single edge must be as sure as when it goes back by itself, unless it has."""
        is_alone = self.edges == 1 and not self.went_back
        return self.worse >= (MOST_EVIDENCE * 0.999 if is_alone else WORSE)


def report_of(heartbeat: Heartbeat, model: str, version: str, against: str | None) -> EdgeReport:
    """What a heartbeat says of a model's version. against: the version that it must have been compared with, None for
    whichever served before."""
    health = heartbeat.models.get(model)
    if health is None:
        return EdgeReport(heartbeat.edge, None, None)
    comparisons = [
        comparison
        for comparison in health.comparisons
        if comparison.new == version and against in {None, comparison.old} and _is_sound(comparison)
    ]
    return EdgeReport(heartbeat.edge, comparisons[-1] if comparisons else None, health.rolled_back.get(version))


def pool(reports: Iterable[EdgeReport]) -> Pooled:
    """Edges that have not said anything yet count as e-values of 1, so that the set of edges does not depend on what
    they find."""
    reports = list(reports)
    return Pooled(
        edges=len(reports),
        reporting=sum(report.truths > 0 or report.went_back is not None for report in reports),
        truths=sum(report.truths for report in reports),
        worse=_mean([report.worse for report in reports]),
        not_worse=_mean([report.not_worse for report in reports]),
        over=bool(reports) and all(report.is_over for report in reports),
        went_back=sum(report.went_back is not None for report in reports),
    )


def judge(everyone: Pooled, newcomers: Pooled, *, evidence: int, held: bool) -> Verdict:
    """What becomes of a stage.

    everyone: the edges in the trial; newcomers: those that came in with this stage, which alone can say whether it
    passed. evidence: truths that are asked for. held: whether the stage has lasted long enough.
    """
    if everyone.is_worse:
        return "worse"
    has_truths = newcomers.truths >= truths_needed(newcomers, evidence)
    # Bets that ended without a verdict pass only where who bet on "worse" has not won anything: otherwise a slightly
    # worse version would pass each stage by outlasting it.
    outlasted = newcomers.over and newcomers.worse <= NOTHING_WON
    is_fine = newcomers.not_worse >= NOT_WORSE or outlasted
    return "passed" if newcomers.edges and has_truths and is_fine and held else "waits"


def truths_needed(newcomers: Pooled, evidence: int) -> int:
    """No more than the edges can give."""
    return min(evidence, MOST_TRUTHS * max(1, newcomers.edges))


def _is_sound(comparison: Comparison) -> bool:
    return not (math.isnan(comparison.log_worse) or math.isnan(comparison.log_not_worse))


def _evidence(logarithm: float, most: float) -> float:
    return math.exp(min(logarithm, math.log(most)))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 1.0
