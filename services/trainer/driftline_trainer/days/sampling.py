"""Which part of a history is learned from when all of it is too much. Pure.

Each series is cut into spans that are long enough to fill a network's memories, and of those every 2^level-th is
taken. Series begin to count at different spans, so the sample has all series, or a fair share of them, and all times
alike. It is the same whatever order the rows come in, and the sample of a higher level is part of that of a lower one:
so it is drawn in one pass, with as many rows in memory as it may have at the end.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from driftline.arrays import Ints, Mask
from driftline.store.object_names import folder_of
from driftline.store.windows import LARGEST
from driftline.streams.definition import EVERY_SERIES, StreamDefinition
from driftline.streams.layout import Layout
from driftline.streams.rows import Names, Rows, encoded
from driftline_trainer.datasets.pieces import WARM_UP

SPAN = 4
"""A span is so many times as long as what fills a network's memories: a quarter of it is lost to that."""
HIGHEST = 40
"""Level; there is no history of 2^40 rows."""


def warm_up(stream: StreamDefinition) -> int:
    """Records that fill a network's memories."""
    return min(WARM_UP, Layout.of(stream).remembered + stream.lags + max(stream.horizon))


@dataclass(frozen=True)
class Sampling:
    """span: milliseconds; grouped: "" where series count alone, else neighbours are taken together."""

    span: int
    level: int = 0
    grouped: str = ""

    @classmethod
    def of(cls, stream: StreamDefinition) -> "Sampling":
        return cls(SPAN * warm_up(stream) * stream.time.period * 1000, grouped=stream.group or "")

    @classmethod
    def of_series(cls, level: int, grouped: str) -> "Sampling":
        """Whole series, one of 2^level."""
        return cls(LARGEST, level, grouped)

    def takes_phase(self, phase: int) -> bool:
        """Of `of_series`: whether it may take the series of this phase."""
        return bool(self.grouped) or phase % (1 << self.level) == 0

    def higher(self) -> "Sampling":
        return replace(self, level=self.level + 1)

    def takes(self, rows: Rows) -> Mask:
        """[n]: which rows are in the sample."""
        if not self.level or not len(rows):
            return np.ones(len(rows), dtype=np.bool_)
        return self._is_due(rows.t // self.span + self._phases(rows))

    def takes_any(self, keys: Names, first: int, last: int) -> bool:
        """Whether the sample may have rows of any of these series from `first` to `last`."""
        if not self.level or self.grouped:
            return True
        spans = np.arange(first // self.span, last // self.span + 1)[: 2**self.level]
        return bool(self._is_due(spans[:, None] + phases_of(keys)).any())

    def _is_due(self, spans: Ints) -> Mask:
        due: Mask = spans % (1 << self.level) == 0
        return due

    def _phases(self, rows: Rows) -> Ints:
        if self.grouped == EVERY_SERIES:
            return np.zeros(len(rows), dtype=np.int64)
        names, codes = encoded(rows.groups if self.grouped else rows.keys)
        phases: Ints = phases_of(names)[codes]
        return phases


def phases_of(names: Iterable[str]) -> Ints:
    """[n]: a number for each name, whatever else there is. Of a series it is that of its folder, too."""
    return np.array([phase_of_folder(folder_of(str(name))) for name in names], dtype=np.int64)


def phase_of_folder(folder: str) -> int:
    return zlib.crc32(folder.encode(errors="surrogatepass"))


@dataclass
class Sample:
    """Takes in rows part by part; has never more than `room` of them when `add` returns, as long as a higher level is
    less."""

    room: int
    sampling: Sampling
    total: int = 0
    """Rows that there were."""
    count: int = 0
    parts: list["SamplePart"] = field(default_factory=list)

    def add(self, part: "SamplePart", total: int) -> None:
        """part: those of `total` rows that the sampling takes, or took before."""
        part = part.of(self.sampling)
        self.total += total
        self.count += len(part.rows)
        self.parts.append(part)
        while self.count > self.room and self.sampling.level < HIGHEST:
            self.sampling = self.sampling.higher()
            self.parts = [kept for kept in (old.of(self.sampling) for old in self.parts) if len(kept.rows)]
            self.count = sum(len(kept.rows) for kept in self.parts)

    @property
    def sampled_from(self) -> int | None:
        """Rows that there were, where not all are in the sample."""
        return self.total if self.sampling.level else None


@dataclass(frozen=True)
class SamplePart:
    """Rows of one file. edge: that archived them; stamps: [n], see `driftline_trainer.days.uniting`; is_mixed: whether
    a time of a series may be there twice."""

    edge: str
    rows: Rows
    stamps: Ints
    is_mixed: bool = True

    def of(self, sampling: Sampling) -> "SamplePart":
        """Those that are in the sample."""
        taken = sampling.takes(self.rows)
        return self if bool(taken.all()) else replace(self, rows=self.rows.take(taken), stamps=self.stamps[taken])
