"""The drift alarm: river's ADWIN on the blend's scaled error.

Bifet and Gavalda, "Learning from time-changing data with adaptive windowing", SDM 2007. `river.drift` would import
SciPy and forty data sets with it, 90 MB resident; the detector's own core, which `river.drift.ADWIN` wraps, needs none.
"""

from river._river_rust.drift import AdaptiveWindowing

CLOCK = 32
MAX_BUCKETS = 5
MIN_WINDOW = 5
GRACE = 30


class DriftDetector:
    """Looks at one series of numbers in [0, 1]."""

    def __init__(self, delta: float) -> None:
        self._delta = delta
        self._adwin = self._fresh()

    def _fresh(self) -> AdaptiveWindowing:
        return AdaptiveWindowing(self._delta, CLOCK, MAX_BUCKETS, MIN_WINDOW, GRACE)

    def update(self, value: float) -> bool:
        """Whether the mean has changed for certain with this value; the next one begins a new window."""
        changed = bool(self._adwin.update(value))
        if changed:
            self._adwin = self._fresh()
        return changed

    @property
    def mean(self) -> float:
        """Mean of the values since the last change."""
        width = self._adwin.get_width()
        return float(self._adwin.get_total() / width) if width else 0.0

    def dump(self) -> bytes:
        """The whole state, exactly."""
        return bytes(self._adwin.__getstate__())

    def load(self, data: bytes) -> None:
        self._adwin.__setstate__(data)
