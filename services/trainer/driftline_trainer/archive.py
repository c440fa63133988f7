"""What was archived of a stream's source, in windows and day files: what nothing has learned from yet, and the rows."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import chain

import numpy as np

from driftline.errors import InvalidInput, NotFound, TooLarge
from driftline.store.hints import Keys
from driftline.store.port import Listed, Store, read
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows, concatenate, encoded
from driftline_trainer.days.files import DayFile, DayReader
from driftline_trainer.days.sampling import Sample, SamplePart, Sampling, warm_up
from driftline_trainer.days.uniting import stamp_of, unite
from driftline_trainer.learned import OLDEST, Learned, order_of
from driftline_trainer.reading import Reading
from driftline_trainer.set_aside import SetAside
from driftline_trainer.window_index import WindowFile, WindowIndexes

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Windows that are on their way from the store."""


async def listed_of(store: Store, kind: str, stream: StreamDefinition) -> AsyncIterator[Listed]:
    """What was archived of a stream's source, and of itself before it had that source. Raises StoreUnavailable."""
    for name in names_of(stream):
        async for listed in store.list(f"{kind}/{name}/"):
            yield listed


def names_of(stream: StreamDefinition) -> list[str]:
    """The names that a stream's records were archived under."""
    return list(dict.fromkeys((stream.source, stream.name)))


class Archive:
    """What was archived for one stream; `aside` knows what of it can't be used.

    Rows move from windows into day files at any time. So windows are read first and day files are listed after that:
    what is there no more, is in a day file then. What is in both is united.
    """

    def __init__(
        self,
        store: Store,
        stream: StreamDefinition,
        aside: SetAside,
        reading: Reading,
        indexes: WindowIndexes,
        *,
        limit: int,
        day_limit: int,
    ) -> None:
        """limit: bytes of a window; day_limit: of a day file."""
        self._store = store
        self._stream = stream
        self._aside = aside
        self._reading = reading
        self._indexes = [indexes.of(name) for name in names_of(stream)]
        self._days = DayReader(store, stream, aside, reading, limit=day_limit)
        self._limit = limit

    async def refresh(self, keys: Keys = None) -> None:
        """Lists what there is, or looks at `keys` alone. Raises StoreUnavailable."""
        if keys is None:
            await self._aside.refresh()
        for index in self._indexes:
            await (index.list_anew() if keys is None else index.look(keys))

    def newest(self) -> dict[str, str]:
        """By feed the key of its newest window; of those that are in no day file yet."""
        newest: dict[str, WindowFile] = {}
        for window in self._usable():
            if window.feed not in newest or window.name.order > newest[window.feed].name.order:
                newest[window.feed] = window
        return {feed: window.key for feed, window in newest.items()}

    def fresh(self, learned: Learned) -> int:
        """Windows that nothing has learned from yet."""
        return sum(1 for _ in self.unlearned(learned))

    def unlearned(self, learned: Learned) -> Iterator[WindowFile]:
        """The same, one after the other."""
        after = {feed: order_of(key) for feed, key in learned.items()}
        return (window for window in self._usable() if window.name.order > after.get(window.feed, OLDEST))

    async def has_days(self) -> bool:
        """Whether there is a day file that may be usable. Raises StoreUnavailable."""
        return bool(await self._days.newest_first())

    async def newest_rows(self, room: int) -> Rows:
        """The newest records of every series: enough to learn from, and before them enough to warm up; of so many
        series that `room` rows are too few, those of a part of them.

        What can't be used is set aside, and older windows take its place. Raises InvalidInput when none is left.
        """
        sampling = Sampling.of_series(self._level(room), self._stream.group or "")
        parts: dict[str, SamplePart] = {}
        while wanted := [window for window in self._newest_windows(sampling) if window.key not in parts]:
            parts |= await self._read(wanted)
        sample = Sample(room, sampling)
        for window in self._newest_windows(sampling):
            sample.add(parts[window.key], len(parts[window.key].rows))
        await self._add_newest_days(sample)
        if not sample.parts:
            raise InvalidInput(f"found no window of {self._stream.name} that can be used, expected some to learn from")
        return joined([united(sample.parts)])

    async def all_rows(self, sample: Sample) -> None:
        """Adds the rows of all windows and day files to the sample. Raises StoreUnavailable."""
        windows = sorted(self._usable(), key=lambda window: window.name.order, reverse=True)
        for first in range(0, len(windows), AT_ONCE):
            for part in (await self._read(windows[first : first + AT_ONCE])).values():
                sample.add(part, len(part.rows))
        for file in await self._days.newest_first():
            await self._add_day(file, sample)

    def _usable(self) -> Iterable[WindowFile]:
        windows = chain.from_iterable(list(index) for index in self._indexes)
        return (window for window in windows if window.listed not in self._aside)

    def _level(self, room: int) -> int:
        """Which share of the series, one of 2^level, has so few rows. Neighbours can't be told from windows' names, so
        where there are any all series are taken."""
        if self._stream.group is not None:
            return 0
        series = {window.series for window in self._usable()}
        level = 0
        while (len(series) >> level) * self._needed(len(series) >> level) > room:
            level += 1
        return level

    def _needed(self, series: int) -> int:
        """Rows of each of so many series, rounded up to windows."""
        records = -(-self._stream.retraining.records // max(1, series))
        return -(-(records + warm_up(self._stream)) // self._stream.window) * self._stream.window

    def _newest_windows(self, sampling: Sampling) -> list[WindowFile]:
        """As many of each series as `newest_rows` needs, in order of time."""
        by_series: dict[str, list[WindowFile]] = {}
        for window in self._usable():
            if sampling.takes_phase(window.phase):
                by_series.setdefault(window.series, []).append(window)
        count = self._needed(len(by_series)) // self._stream.window
        ordered = (sorted(windows, key=lambda window: window.name.order) for windows in by_series.values())
        return [window for windows in ordered for window in windows[-count:]]

    async def _add_newest_days(self, sample: Sample) -> None:
        """What of the newest records, and of what warms up before them, is in day files already."""
        for file in await self._days.newest_first():
            if self._reaches(sample.parts, file.name.ends):
                break
            await self._add_day(file, sample)

    def _reaches(self, parts: list[SamplePart], t: int) -> bool:
        """Whether nothing from before `t` is needed to learn from the newest records."""
        known = [part.rows.t[np.isfinite(part.rows.values[:, 0])] for part in parts]
        wanted = self._stream.retraining.records
        if sum(map(len, known)) < wanted:
            return False
        oldest = np.partition(np.concatenate(known), -wanted)[-wanted]
        return int(oldest) - warm_up(self._stream) * self._stream.time.period * 1000 >= t

    async def _add_day(self, file: DayFile, sample: Sample) -> None:
        content = await self._days.rows(file, sample.sampling)
        if content is not None:
            sample.add(SamplePart(file.name.edge, content.rows, content.stamps), content.total)

    async def _read(self, windows: list[WindowFile]) -> dict[str, SamplePart]:
        """By key the rows of those that can be used; the others are known no more, or are set aside."""
        parts: dict[str, SamplePart] = {}
        for first in range(0, len(windows), AT_ONCE):
            some = windows[first : first + AT_ONCE]
            rows_of_some = await asyncio.gather(*map(self._rows, some))
            parts |= {
                window.key: SamplePart(window.edge, rows, np.full(len(rows), stamp_of(window.name)))
                for window, rows in zip(some, rows_of_some, strict=True)
                if rows is not None
            }
        return parts

    async def _rows(self, window: WindowFile) -> Rows | None:
        try:
            body = await read(self._store, window.key, self._limit)
            return await self._reading.rows(body, self._stream, window.key, window.folder)
        except NotFound:
            # It is in a day file now, or retention took it.
            for index in self._indexes:
                index.forget(window.key)
        except (TooLarge, InvalidInput) as error:
            await self._aside.add(window.listed, str(error))
        return None


def united(parts: list[SamplePart]) -> Rows:
    """The rows of at least one part, each time of a series once; see `driftline_trainer.days.uniting`."""
    # First those of each edge, as they lie in its day files; of two edges with the same stamp one counts as later.
    by_edge: dict[str, list[SamplePart]] = {}
    for part in parts:
        by_edge.setdefault(part.edge, []).append(part)
    return _united([_united(by_edge[edge]) for edge in sorted(by_edge)]).rows


def _united(parts: list[SamplePart]) -> SamplePart:
    if len(parts) == 1 and not parts[0].is_mixed:
        return parts[0]
    rows = concatenate([part.rows for part in parts])
    codes = encoded(rows.keys)[1]
    stamps = np.concatenate([part.stamps for part in parts])
    one = unite(codes.astype(np.int64), rows.t, stamps, rows.values)
    newest = rows.take(one.places)
    united_rows = Rows(newest.keys, newest.t, one.values, newest.groups, newest.futures)
    return SamplePart(parts[0].edge, united_rows, stamps[one.places], is_mixed=False)


def joined(parts: list[Rows]) -> Rows:
    """The rows of all parts, of each series those in its newest group."""
    rows = concatenate(parts)
    kept = rows.in_newest_groups()
    if len(kept) < len(rows):
        log.warning("rows left out: their series are in other groups since", extra={"count": len(rows) - len(kept)})
    return kept
