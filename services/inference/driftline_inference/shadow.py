"""Whether a new version is worse than the one before, which forecasts in parallel for a while. Pure.

The errors of both are compared as they come, and the comparison may be looked at after every record: it is a test by
betting (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 2024). While the new
version is worse no more often than not, the wealth of a bettor against it is a test martingale, so it ever reaches
1/ALPHA with a probability of at most ALPHA (Ville's inequality), however long one looks. A second bettor takes the
other side: its wealth is evidence that the new version is not worse, and lets a roll-out move on.

That holds where "worse" is as likely after "worse" as after "better". Errors last for a while, so one bet is about
several looks at all series; docs/decisions/0038 has the error rates for errors that last.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

import numpy as np

from driftline.fleet.heartbeat import Comparison
from driftline_inference.course import Course

ALPHA = 1e-3
"""Largest probability that a version that is no worse is rolled back."""
MARGIN = 0.05
"""Worse means: a sum of absolute errors more than this share above the former version's."""
SHADOW_RECORDS = 2000
"""Records after which the former version stops to forecast, where that has shown that the new one is not worse ..."""
LONGEST_SHADOW = 20_000
"""... and after which it stops in any case."""
LOOKS = 8
"""Looks at all series that one bet is about, at least: where an error has the correlation 0.9 with the one before, an
equally good version is stopped in about 1 % of cases then, and one that is 15 % worse passes as seldom."""
STEPS_A_LOOK = 4
"""Forecasts of many steps ahead overlap, and so do their errors: of so many steps each, one look more."""
BETS = np.linspace(0.05, 0.95, 10)
"""Shares of its wealth that a bettor stakes; the evidence is the mean over bettors."""


class SignTest:
    """Evidence that "worse" comes more often than not. log_wealth: of each bettor, to go on from."""

    def __init__(self, log_wealth: Sequence[float] | None = None) -> None:
        self._log_wealth = np.zeros(len(BETS)) if log_wealth is None else np.array(log_wealth, dtype=np.float64)

    @property
    def log_wealth(self) -> list[float]:
        return [float(wealth) for wealth in self._log_wealth]

    def add(self, *, worse: bool) -> None:
        self._log_wealth += np.log1p(BETS if worse else -BETS)

    @property
    def evidence(self) -> float:
        return float(np.exp(min(self.log_evidence, 700.0)))

    @property
    def log_evidence(self) -> float:
        """Its logarithm, which never overflows."""
        return float(np.logaddexp.reduce(self._log_wealth) - np.log(len(BETS)))

    @property
    def certain(self) -> bool:
        return self.evidence >= 1 / ALPHA


@dataclass
class Shadow:
    """Two versions of a model, compared on the first horizon. `steps`: how many periods it is ahead."""

    new: str
    old: str
    steps: int
    seen: int = 0
    test: SignTest = field(default_factory=SignTest)
    not_worse: SignTest = field(default_factory=SignTest)
    """The same bets on the other side."""
    course: Course = field(default_factory=Course)
    _awaited: dict[str, deque[tuple[int, tuple[float, float]]]] = field(default_factory=dict)
    _errors: tuple[float, float] = (0.0, 0.0)
    _block: int = 0

    @property
    def looks(self) -> int:
        """How many looks at all series one bet is about."""
        return max(LOOKS, self.steps // STEPS_A_LOOK)

    @property
    def over(self) -> bool:
        """Whether there is nothing more to find out."""
        is_decided = self.seen >= SHADOW_RECORDS and self.not_worse.certain
        return is_decided or self.test.certain or self.seen >= LONGEST_SHADOW

    @property
    def comparison(self) -> Comparison:
        """What the fleet is told."""
        return Comparison(
            new=self.new,
            old=self.old,
            truths=self.seen,
            log_worse=self.test.log_evidence,
            log_not_worse=self.not_worse.log_evidence,
            over=self.over,
        )

    def without_forecasts(self) -> "Shadow":
        """The same, after a while in which nothing was compared: what was forecast before it meets no truth."""
        return Shadow(self.new, self.old, self.steps, self.seen, self.test, self.not_worse, self.course)

    def add(
        self,
        keys: Sequence[str],
        ticks: Sequence[int],
        truths: Sequence[float | None],
        forecasts: Sequence[tuple[float, float]],
    ) -> None:
        """Takes in records in order: their ticks (see `driftline.streams.grid`) and truths, and what the new and the
        old version forecast from them."""
        for key, tick, truth, pair in zip(keys, ticks, truths, forecasts, strict=True):
            awaited = self._awaited.setdefault(key, deque())
            while awaited and awaited[0][0] < tick - self.steps:
                awaited.popleft()
            # Taken out, so that a second record of a tick is not scored again.
            if awaited and awaited[0][0] == tick - self.steps:
                self._score(truth, awaited.popleft()[1])
            awaited.append((tick, pair))

    def _score(self, truth: float | None, pair: tuple[float, float]) -> None:
        """Series of one site err together, and errors last: so one bet is about several looks at all of them."""
        if truth is None or not all(map(isfinite, pair)):
            return
        new, old = (error + abs(forecast - truth) for error, forecast in zip(self._errors, pair, strict=True))
        self._errors = (new, old)
        self._block += 1
        self.seen += 1
        if self._block >= self.looks * len(self._awaited):
            self._bet(new, old)
            self._errors, self._block = (0.0, 0.0), 0

    def _bet(self, new: float, old: float) -> None:
        """Both without error say nothing: many a sensor is still at night. Both with the same error are not worse."""
        worse = new > (1 + MARGIN) * old
        if new != old:
            self.test.add(worse=worse)
        if max(new, old) > 0:
            self.not_worse.add(worse=not worse)
        self.course.add(self.seen, self.test.log_evidence, self.not_worse.log_evidence)
