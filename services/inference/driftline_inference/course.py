"""How a test by betting went, as a curve of bounded length. Pure."""

from collections.abc import Sequence

import msgspec

LONGEST = 60
"""Points; when there are as many, every other one is left out, and from then on half as many are taken."""


class BetPoint(msgspec.Struct, frozen=True, array_like=True):
    """After so many truths: logarithms of the evidence that the new version is worse, and that it is not."""

    truths: int
    worse: float
    not_worse: float


class Course:
    """The curve of one comparison. points: to go on from; stride: bets between two of them."""

    def __init__(self, points: Sequence[BetPoint] = (), stride: int = 1) -> None:
        self._points = list(points)
        self._stride = max(1, stride)
        self._bets = 0
        self._newest: BetPoint | None = None

    def add(self, truths: int, worse: float, not_worse: float) -> None:
        """Once for each bet."""
        self._newest = BetPoint(truths, worse, not_worse)
        self._bets += 1
        if self._bets % self._stride:
            return
        self._points.append(self._newest)
        if len(self._points) >= LONGEST:
            self._points, self._stride, self._bets = self._points[1::2], 2 * self._stride, 0

    @property
    def stride(self) -> int:
        return self._stride

    def thinned(self) -> list[BetPoint]:
        """Those to keep."""
        return list(self._points)

    def points(self) -> list[BetPoint]:
        """The same with the newest, at most LONGEST."""
        newest = [] if self._newest is None or self._points[-1:] == [self._newest] else [self._newest]
        return [*self._points, *newest]
