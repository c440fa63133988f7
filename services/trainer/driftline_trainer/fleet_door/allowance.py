"""How often something may happen. Pure."""

from collections.abc import Callable

from driftline.errors import Unavailable


class Allowance:
    """`rate` times in a second, and `at_once` times together: a second's worth by default. ticks: seconds that never
    jump."""

    def __init__(self, rate: float, ticks: Callable[[], float], *, at_once: float | None = None) -> None:
        self._rate = rate
        self._most = self._left = rate if at_once is None else at_once
        self._ticks = ticks
        self._since = ticks()

    def take(self, refusal: str) -> None:
        """Raises Unavailable, with this sentence, when there is none left."""
        now = self._ticks()
        self._left = min(self._most, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < 1:
            raise Unavailable(refusal)
        self._left -= 1
