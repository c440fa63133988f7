"""What came out under each name, against what was acknowledged. Pure; a few numbers for each name, whatever the run.

A name is a series and a tick. Under one name the same thing may be published several times; then it must be the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from driftline.members import MEMBERS, MODELS, STACK
from driftline.messages import Blend, Forecast
from tests.chaos.scene import Scene

CLOSE = 1e-6
LISTED = 5
ABSENT = -1
"""The number of a version that a forecast does not name."""
VERSION = "version"
SETTLED = 60
"""Ticks: far more than a worker does again after a crash."""
GROWN_BY = 256


@dataclass(frozen=True)
class Difference:
    """A name that came twice and was not the same."""

    name: str
    what: str
    first: float
    again: float

    def __str__(self) -> str:
        return f"{self.name}: {self.what}: first {self.first!r}, then {self.again!r}"


@dataclass
class Published:
    """One topic's names. width: numbers that are kept of each."""

    scene: Scene
    width: int
    times: np.ndarray = field(init=False)
    """[keys, ticks]: how often each name came."""
    values: np.ndarray = field(init=False)
    """[keys, ticks, width]: what it was when it came first."""
    waited: float = 0.0
    """The longest that a record waited for what is made of it, from the door to the topic; in seconds."""
    slowest: str = ""
    """Its name."""
    strange: list[str] = field(default_factory=list)
    """Names that nobody sent."""
    differing: set[str] = field(default_factory=set)
    """Names that came again and were not the same."""
    examples: list[Difference] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.times = np.zeros((self.scene.keys, 0), dtype=np.int32)
        self.values = np.zeros((self.scene.keys, 0, self.width))

    def first(self, key: str, t: int, waited: float) -> tuple[int, int] | None:
        """Counts a name. Returns its place, or None when it is strange."""
        try:
            place = self.scene.place(key, t)
        except ValueError:
            self.strange.append(f"{key}/{t}")
            return None
        self._reach(place[1])
        self.times[place] += 1
        if self.times[place] == 1 and waited > self.waited:
            self.waited, self.slowest = waited, f"{key}/{t}"
        return place

    def _reach(self, tick: int) -> None:
        lacking = tick + 1 - self.times.shape[1]
        if lacking > 0:
            lacking = max(lacking, GROWN_BY)
            self.times = np.pad(self.times, ((0, 0), (0, lacking)))
            self.values = np.pad(self.values, ((0, 0), (0, lacking), (0, 0)), constant_values=np.nan)

    def compare(self, place: tuple[int, int], labels: Sequence[str], numbers: np.ndarray, which: np.ndarray) -> None:
        """Holds what came again against what came first, where both are numbers. which: [width], what is compared."""
        first = self.values[place]
        both = which & ~np.isnan(first) & ~np.isnan(numbers)
        apart = np.abs(first - numbers) > CLOSE * np.maximum(1.0, np.abs(first))
        for spot in np.flatnonzero(both & apart).tolist():
            self.note_difference(place, labels[spot], float(first[spot]), float(numbers[spot]))

    def note_difference(self, place: tuple[int, int], what: str, first: float, again: float) -> None:
        name = f"{self.scene.name(place[0])}/{self.scene.t(place[1])}"
        self.differing.add(name)
        if len(self.examples) < LISTED:
            self.examples.append(Difference(name, what, first, again))

    def missing(self, acknowledged: np.ndarray) -> Iterator[tuple[int, int]]:
        """Places of acknowledged names that never came."""
        for key, ticks in enumerate(acknowledged.tolist()):
            seen = self.times[key, :ticks] > 0
            yield from ((key, int(tick)) for tick in np.flatnonzero(~seen))
            yield from ((key, tick) for tick in range(len(seen), ticks))

    def lacks(self, acknowledged: np.ndarray) -> int:
        """How many acknowledged names never came."""
        ticks = np.arange(self.times.shape[1])
        there = (self.times > 0) & (ticks[None, :] < acknowledged[:, None])
        return int(acknowledged.sum() - there.sum())

    def beyond(self, acknowledged: np.ndarray) -> int:
        """How many names came that can't have been sent: the record that was under way at the end may have been."""
        ticks = np.arange(self.times.shape[1])
        return int(((self.times > 0) & (ticks[None, :] > acknowledged[:, None])).sum()) + len(self.strange)

    @property
    def names(self) -> int:
        return int((self.times > 0).sum())

    @property
    def messages(self) -> int:
        return int(self.times.sum())

    def repeated(self, since: int) -> int:
        """Names from tick `since` on that came more than once."""
        return int((self.times[:, since:] > 1).sum())


class Forecasts(Published):
    """Forecasts, and which models' versions each names.

    What is done again may be done with a newer model. Then that model's own forecasts are not compared, nor is the
    stack, which learns from them, for the next SETTLED ticks of the series; the other members always are.
    """

    def __init__(self, scene: Scene) -> None:
        horizons = len(scene.stream.horizon)
        super().__init__(scene, 1 + len(MEMBERS) * horizons + len(MODELS))
        named = [*(m for m in MEMBERS for _ in scene.stream.horizon)]
        self._labels = ["observed", *(f"{m}_{h}" for m in MEMBERS for h in scene.stream.horizon), *MODELS]
        self._member = np.array(["observed", *named, *(VERSION for _ in MODELS)])
        self._known: dict[tuple[str, str], int] = {}
        self._settled_at = np.zeros(scene.keys, dtype=np.int64)
        self.unversioned: list[str] = []
        """Names of forecasts that do not say which version of a model they come from; only the first are kept."""
        self.unversioned_total = 0

    @property
    def versions(self) -> int:
        """Different versions of models that forecasts name."""
        return len(self._known)

    def note(self, forecast: Forecast, at: float) -> None:
        """at: when it was on the topic, in seconds since the epoch."""
        place = self.first(forecast.key, forecast.t, at - forecast.received)
        if place is None:
            return
        numbers = self._pack(forecast)
        if self.times[place] == 1:
            self.values[place] = numbers
        else:
            self._again(place, numbers)

    def _number(self, forecast: Forecast) -> list[int]:
        """A number for each model's version."""
        if any(model not in forecast.versions for model in MODELS):
            self.unversioned_total += 1
            if len(self.unversioned) < LISTED:
                self.unversioned.append(f"{forecast.key}/{forecast.t}: {dict(forecast.versions)}")
        named = [(model, forecast.versions[model]) if model in forecast.versions else None for model in MODELS]
        return [ABSENT if each is None else self._known.setdefault(each, len(self._known)) for each in named]

    def _pack(self, forecast: Forecast) -> np.ndarray:
        absent = [None] * len(forecast.horizon)
        members = [value for name in MEMBERS for value in forecast.members.get(name, absent)]
        return np.array([forecast.observed, *members, *self._number(forecast)], dtype=np.float64)

    def _again(self, place: tuple[int, int], numbers: np.ndarray) -> None:
        first = self.values[place]
        which = self._member != VERSION
        for model, before, now in zip(MODELS, first[~which], numbers[~which], strict=True):
            if before != now:
                self._settled_at[place[0]] = place[1] + SETTLED
                which = which & (self._member != model)
        if place[1] < self._settled_at[place[0]]:
            which &= self._member != STACK
        self.compare(place, self._labels, numbers, which)


class Blends(Published):
    """Blends. The topic that they are made from does not change, so a repeat is the same in all."""

    def __init__(self, scene: Scene) -> None:
        steps = scene.stream.horizon
        super().__init__(scene, 1 + 3 * len(steps) + len(MEMBERS) * len(steps))
        parts = [*(f"{n}_{h}" for n in ("blend", "lower", "upper") for h in steps)]
        self._labels = ["observed", *parts, *(f"weight_{m}_{h}" for m in MEMBERS for h in steps)]

    def note(self, blend: Blend, at: float) -> None:
        place = self.first(blend.key, blend.t, at - blend.received)
        if place is None:
            return
        absent = [None] * len(blend.horizon)
        bounds = [each or absent for each in (blend.value, blend.lower, blend.upper)]
        weights = [value for name in MEMBERS for value in blend.weights.get(name, absent)]
        numbers = np.array([blend.observed, *(v for part in bounds for v in part), *weights], dtype=np.float64)
        if self.times[place] == 1:
            self.values[place] = numbers
        else:
            self.compare(place, self._labels, numbers, np.ones(self.width, dtype=bool))
