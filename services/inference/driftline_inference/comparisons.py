"""The comparisons of a stream's versions: those that run, and the newest of those that ran. Pure.

Their totals outlive a restart: what a bettor has won stays won. Forecasts whose truth had not come are lost with it.
"""

import msgspec

from driftline.fleet.heartbeat import NEWEST_COMPARISONS, Comparison
from driftline_inference.course import BetPoint, Course
from driftline_inference.shadow import BETS, Shadow, SignTest


class SavedComparison(msgspec.Struct, frozen=True):
    """The totals of a comparison. worse, not_worse: logarithms of each bettor's wealth. course, stride: its curve."""

    new: str
    old: str
    seen: int
    worse: list[float]
    not_worse: list[float]
    course: list[BetPoint] = []
    stride: int = 1


Saved = dict[str, list[SavedComparison]]
"""By member, the newest last."""


class Comparisons:
    """steps: how many periods ahead the compared forecasts are."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._shadows: dict[str, list[Shadow]] = {}

    def between(self, member: str, new: str, old: str) -> Shadow:
        """The comparison of these versions: the one that runs, or ran before, and otherwise one that begins."""
        shadows = self._shadows.setdefault(member, [])
        if not shadows or (shadows[-1].new, shadows[-1].old) != (new, old):
            same = next((shadow for shadow in shadows if (shadow.new, shadow.old) == (new, old)), None)
            others = [shadow for shadow in shadows if shadow is not same]
            newest = same.without_forecasts() if same else Shadow(new, old, self._steps)
            self._shadows[member] = [*others, newest][-NEWEST_COMPARISONS:]
        return self._shadows[member][-1]

    def newest(self, member: str) -> Shadow | None:
        shadows = self._shadows.get(member)
        return shadows[-1] if shadows else None

    def shadows(self, member: str) -> list[Shadow]:
        """All that are remembered, the newest last."""
        return list(self._shadows.get(member, ()))

    def of(self, member: str) -> list[Comparison]:
        """What the heartbeat says, the newest last."""
        return [shadow.comparison for shadow in self._shadows.get(member, ())]

    def save(self) -> bytes:
        saved: Saved = {
            member: [
                SavedComparison(
                    shadow.new,
                    shadow.old,
                    shadow.seen,
                    shadow.test.log_wealth,
                    shadow.not_worse.log_wealth,
                    shadow.course.thinned(),
                    shadow.course.stride,
                )
                for shadow in shadows
            ]
            for member, shadows in self._shadows.items()
        }
        return msgspec.json.encode(saved)

    def restore(self, body: bytes) -> None:
        """Goes on from what `save` gave; nothing happens where that can't be read, or bets differently by now."""
        try:
            saved = msgspec.json.decode(body, type=Saved)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        for member, comparisons in saved.items():
            self._shadows[member] = [
                self._restored(comparison)
                for comparison in comparisons[-NEWEST_COMPARISONS:]
                if len(comparison.worse) == len(comparison.not_worse) == len(BETS)
            ]

    def _restored(self, saved: SavedComparison) -> Shadow:
        tests = (SignTest(saved.worse), SignTest(saved.not_worse))
        return Shadow(saved.new, saved.old, self._steps, saved.seen, *tests, Course(saved.course, saved.stride))
