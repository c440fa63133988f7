"""Drift detectors: ADWIN or Page-Hinkley on numbers in [0, 1], and how large a change must be for an alert.

Bifet and Gavalda, "Learning from time-changing data with adaptive windowing", SDM 2007; Page, "Continuous inspection
schemes", Biometrika 1954. Both find that a mean has changed; whether the change is large enough for a person, and
whether the series has cried wolf before, is asked here.
"""

import math
from importlib.metadata import version
from typing import NamedTuple, Protocol

import msgspec
from river._river_rust.drift import AdaptiveWindowing

from driftline.streams import model_sections

RIVER = version("river")
"""Another version may keep the state of its core in another form."""
CLOCK, MAX_BUCKETS, MIN_WINDOW, GRACE = 4, 5, 5, 30
"""ADWIN looks for a change every 4th number, and not before the 30th."""
INSENSITIVITY = 0.005
"""Changes of the mean that Page-Hinkley does not add up."""
FADING = 0.9999
"""Its memory of what was added up."""
RECENT = 0.1
"""Memory of the mean after a change: about the last 10 numbers."""
PATIENCE = 50
"""Records within which a change that was found must grow to the asked size."""
WARINESS = 0.8
"""After an alert the asked size goes this share of the way to 1 ..."""
FORGIVING = 1e-5
"""... and back by this share with every record: a series that is wild by nature is soon left in peace."""


class Change(NamedTuple):
    """A mean that has changed: what it was, and what it is over about the last 10 numbers."""

    before: float
    after: float


class Core(Protocol):
    """What finds changes."""

    def update(self, value: float) -> bool: ...

    @property
    def mean(self) -> float: ...

    def dump(self) -> bytes: ...

    def load(self, data: bytes) -> None: ...


class Adwin:
    """river's core; `river.drift.ADWIN`, which wraps it, would bring SciPy and forty data sets: 90 MB resident."""

    __slots__ = ("_adwin", "_delta")

    def __init__(self, delta: float) -> None:
        self._delta = delta
        self._adwin = self._fresh()

    def _fresh(self) -> AdaptiveWindowing:
        return AdaptiveWindowing(self._delta, CLOCK, MAX_BUCKETS, MIN_WINDOW, GRACE)

    def update(self, value: float) -> bool:
        changed = bool(self._adwin.update(value))
        if changed:
            self._adwin = self._fresh()
        return changed

    @property
    def mean(self) -> float:
        width = self._adwin.get_width()
        return float(self._adwin.get_total() / width) if width else 0.0

    def dump(self) -> bytes:
        return bytes(self._adwin.__getstate__())

    def load(self, data: bytes) -> None:
        """Raises ValueError for bytes of another form."""
        try:
            self._adwin.__setstate__(data)
        except BaseException as error:
            # river's core panics at them, and a panic of Rust is no Exception.
            if type(error).__name__ != "PanicException":
                raise
            raise ValueError(f"found a state that river {RIVER} can't read: {error}") from error


class ChangeSums(msgspec.Struct, array_like=True):
    """What Page-Hinkley knows: the mean of n numbers, the fading sum of how far they were above it, its least."""

    n: int = 0
    mean: float = 0.0
    above: float = 0.0
    least: float = math.inf
    detected: bool = False


class PageHinkley:
    """Whether a mean has grown: the same as river's own, whose import would bring SciPy, too."""

    __slots__ = ("_sums", "_threshold")

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._sums = ChangeSums()

    def update(self, value: float) -> bool:
        if self._sums.detected:
            self._sums = ChangeSums()
        sums = self._sums
        sums.n += 1
        sums.mean += (value - sums.mean) / sums.n
        sums.above = FADING * sums.above + value - sums.mean - INSENSITIVITY
        sums.least = min(sums.least, sums.above)
        sums.detected = sums.n >= GRACE and sums.above - sums.least > self._threshold
        return sums.detected

    @property
    def mean(self) -> float:
        return self._sums.mean

    def dump(self) -> bytes:
        return msgspec.msgpack.encode(self._sums)

    def load(self, data: bytes) -> None:
        self._sums = msgspec.msgpack.decode(data, type=ChangeSums)


class SavedDetector(msgspec.Struct, frozen=True, array_like=True):
    """The state of a detector."""

    core: bytes
    recent: float
    asked: float
    before: float
    left: int


class DriftDetector:
    """Looks at one series of numbers in [0, 1]. asked: how far its mean must rise for an alert."""

    __slots__ = ("_asked", "_before", "_core", "_least", "_left", "_recent")

    def __init__(self, settings: model_sections.Drift, asked: float) -> None:
        self._least = asked
        self._core: Core = Adwin(settings.delta) if settings.detector == "adwin" else PageHinkley(settings.threshold)
        self._recent = 0.0
        self._asked = asked
        self._before = 0.0
        self._left = 0

    def update(self, value: float) -> Change | None:
        """The change that is worth an alert, when this value shows one. NaN shows nothing."""
        if math.isnan(value):
            return None
        mean = self._core.mean
        self._recent += RECENT * (value - self._recent)
        self._asked += FORGIVING * (self._least - self._asked)
        if self._core.update(value):
            if not self._left:
                self._before = mean
            self._left = PATIENCE
        if not self._left:
            return None
        self._left -= 1
        if self._recent - self._before <= self._asked:
            return None
        self._left = 0
        self._asked += WARINESS * (1.0 - self._asked)
        return Change(self._before, self._recent)

    def dump(self) -> bytes:
        """The whole state, exactly."""
        return msgspec.msgpack.encode(
            SavedDetector(self._core.dump(), self._recent, self._asked, self._before, self._left)
        )

    def load(self, data: bytes) -> None:
        saved = msgspec.msgpack.decode(data, type=SavedDetector)
        self._core.load(saved.core)
        self._recent, self._asked, self._before, self._left = saved.recent, saved.asked, saved.before, saved.left
