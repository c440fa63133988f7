"""When a worker gives up: too much of its input is unusable. Pure."""

from collections import deque

from driftline.errors import TooManyDeadLetters

REMEMBERED = 1000
"""Messages over which the share of dead letters is taken."""


class DeadLetterGauge:
    """The share of dead letters among the last REMEMBERED messages."""

    def __init__(self, share: float, minimum: int) -> None:
        self._share = share
        self._minimum = minimum
        self._recent: deque[bool] = deque(maxlen=REMEMBERED)
        self._dead = 0

    def note(self, *, dead: bool) -> None:
        """Raises TooManyDeadLetters when the share is exceeded."""
        if len(self._recent) == REMEMBERED:
            self._dead -= self._recent[0]
        self._recent.append(dead)
        self._dead += dead
        if dead and self._dead > self._minimum and self._dead > self._share * len(self._recent):
            raise TooManyDeadLetters(
                f"found {self._dead} unusable messages among the last {len(self._recent)}, "
                f"expected a share of at most {self._share:g}; the dead-letter topic holds them with their reasons"
            )
