"""All series that are known here with what they are sorted and counted by, looked at afresh every few seconds."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from typing import Any, Literal

from driftline_combiner.dashboard_buffer import DashboardBuffer
from driftline_combiner.step import BlendStep
from driftline_combiner.trust import Judgements, Verdict, judged

LOOK_EVERY = 2.0
"""Seconds for which a look at all series is good: thousands of them cost some ten milliseconds."""
STILL_NEW = 250
"""Periods after which an alert is no longer shown."""
Sorting = Literal["name", "trust", "skill", "alert", "age"]
URGENT = {Verdict.BAD: 0, Verdict.CARE: 1, Verdict.UNKNOWN: 2, Verdict.GOOD: 3}


@dataclass(frozen=True, slots=True)
class ListedSeries:
    """A series in the index. t, alert_t: of its newest record and of its newest alert that is still new. skill: of
    late; NaN where it is not known."""

    stream: str
    key: str
    t: int | None
    alert_t: int | None
    verdict: Verdict
    skill: float

    @property
    def name(self) -> tuple[str, str]:
        return self.stream, self.key


class SeriesIndex:
    """Of the series that are owned here or remembered. ticks: seconds that never jump."""

    def __init__(
        self, stream_steps: Mapping[str, BlendStep], buffer: DashboardBuffer, ticks: Callable[[], float]
    ) -> None:
        self._stream_steps = stream_steps
        self._buffer = buffer
        self._ticks = ticks
        self._looks: dict[int | None, tuple[float, list[ListedSeries]]] = {}
        """By steps ahead when it was looked, and what was seen."""

    def listed(self, steps: int | None) -> list[ListedSeries]:
        """In order of stream and key. steps: how far ahead skill and trust are of; a stream that does not forecast so
        far, or None, stands for its first."""
        now = self._ticks()
        since, listed = self._looks.get(steps, (-math.inf, []))
        if now - since >= LOOK_EVERY:
            listed = [series for stream in sorted(self._stream_steps) for series in self._of(stream, steps)]
            fresh = {asked: look for asked, look in self._looks.items() if now - look[0] < LOOK_EVERY}
            self._looks = {**fresh, steps: (now, listed)}
        return listed

    def _of(self, stream: str, steps: int | None) -> Iterator[ListedSeries]:
        step = self._stream_steps[stream]
        owned = step.keys()
        scores = judged(step.standings(owned, row_of(step, steps)))
        places = {key: index for index, key in enumerate(owned)}
        return (self._one(stream, key, places.get(key), scores) for key in self._keys(stream, owned))

    def _keys(self, stream: str, owned: list[str]) -> Iterator[str]:
        return (key for key, _ in groupby(merge(owned, self._buffer.keys(stream))))

    def _one(self, stream: str, key: str, index: int | None, scores: Judgements) -> ListedSeries:
        t = self.newest_t(stream, key)
        alert = self._buffer.newest_alert((stream, key))
        still = STILL_NEW * 1000 * self._stream_steps[stream].stream.time.period
        alert_t = None if alert is None or (t is not None and t - alert.t > still) else alert.t
        if index is None:
            return ListedSeries(stream, key, t, alert_t, Verdict.UNKNOWN, math.nan)
        return ListedSeries(stream, key, t, alert_t, scores.verdict(index), float(scores.skill[index]))

    def newest_t(self, stream: str, key: str) -> int | None:
        """The time of a series' newest record; None where it has had none since the process runs."""
        own, remembered = self._stream_steps[stream].last_t(key), self._buffer.last_t((stream, key))
        return max((t for t in (own, remembered) if t is not None), default=None)


def row_of(step: BlendStep, steps: int | None) -> int:
    """The place of so many steps ahead among a stream's horizons; the first where it has none such."""
    horizon = step.stream.horizon
    return horizon.index(steps) if steps in horizon else 0


def chosen(listed: list[ListedSeries], stream: str | None, key: str | None, search: str) -> list[ListedSeries]:
    """Those of a stream, of a key, and with a text in stream or key, whatever its case."""
    text = search.casefold()
    return [
        series
        for series in listed
        if (stream is None or series.stream == stream)
        and (key is None or series.key == key)
        and (not text or text in f"{series.stream}/{series.key}".casefold())
    ]


def in_order(listed: list[ListedSeries], by: Sorting, *, backwards: bool) -> list[ListedSeries]:
    """Whoever needs a look first: the least trusted, least skilled, the newest alert, the oldest record. `backwards`
    is the other way round; a series of which that is not known comes last either way."""
    if by == "name":
        return listed[::-1] if backwards else listed
    value: Callable[[ListedSeries], Any] = {
        "trust": lambda series: URGENT[series.verdict],
        "skill": lambda series: None if math.isnan(series.skill) else series.skill,
        "alert": lambda series: None if series.alert_t is None else -series.alert_t,
        "age": lambda series: series.t,
    }[by]
    known = [series for series in listed if value(series) is not None]
    unknown = [series for series in listed if value(series) is None]
    # A stable sort: those that are alike stay in order of their names.
    return [*sorted(known, key=value, reverse=backwards), *unknown]


def counts(listed: list[ListedSeries]) -> dict[str, int]:
    """By verdict how many there are, and how many have a new alert."""
    of = Counter(series.verdict for series in listed)
    alerts = sum(series.alert_t is not None for series in listed)
    return {**{verdict.value: of[verdict] for verdict in Verdict}, "alerts": alerts}
