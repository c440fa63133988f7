"""The archived windows of a stream's source: which there are, which nothing has learned from yet, and their rows."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from driftline.errors import InvalidInput, NotFound, TooLarge
from driftline.metrics import Metrics
from driftline.store.port import Listed, Store, read
from driftline.store.windows import WindowName, parse
from driftline.streams.definition import StreamDefinition
from driftline.streams.layout import Layout
from driftline.streams.rows import Rows, concatenate
from driftline_trainer.dataset import WARM_UP
from driftline_trainer.reading import Reading
from driftline_trainer.set_aside import SetAside

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Windows that are on their way from the store."""
FEEDS = 20_000
"""Series, each by each edge, whose windows are learned from: a manifest names the newest window of each."""
PARTS = 4
"""Of a window's key: windows/<source>/<key>/<name>."""

Learned = Mapping[str, str]
"""By feed the key of the newest window that was learned from. A feed is windows/<source>/<key>, where its windows are
named by offsets, and windows/<source>/<key>/<edge> where by times."""


async def listed_of(store: Store, kind: str, stream: StreamDefinition) -> AsyncIterator[Listed]:
    """What was archived of a stream's source, and of itself before it had that source. Raises StoreUnavailable."""
    for name in dict.fromkeys((stream.source, stream.name)):
        async for listed in store.list(f"{kind}/{name}/"):
            yield listed


@dataclass(frozen=True)
class WindowFile:
    """A window as it is listed."""

    listed: Listed
    name: WindowName

    @property
    def key(self) -> str:
        return self.listed.key

    @cached_property
    def series(self) -> str:
        return self.key.rpartition("/")[0]

    @cached_property
    def feed(self) -> str:
        return f"{self.series}/{self.name.edge}" if self.name.edge else self.series


def _window(listed: Listed) -> WindowFile | None:
    """None for an object that no archive named."""
    parts = listed.key.split("/")
    name = parse(parts[-1]) if len(parts) == PARTS else None
    return WindowFile(listed, name) if name else None


class Archive:
    """The windows of one stream, as far as they were listed; `aside` knows those that can't be used."""

    def __init__(
        self,
        store: Store,
        stream: StreamDefinition,
        aside: SetAside,
        reading: Reading,
        metrics: Metrics,
        *,
        limit: int,
    ) -> None:
        """limit: bytes of a window."""
        self._store = store
        self._stream = stream
        self._aside = aside
        self._reading = reading
        self._foreign = metrics.windows_foreign.labels(stream.name)
        self._limit = limit
        self._known: dict[str, WindowFile] = {}
        self._reported = False

    async def refresh(self) -> None:
        """Lists what there is. Raises StoreUnavailable."""
        await self._aside.refresh()
        known: dict[str, WindowFile] = {}
        feeds: set[str] = set()
        foreign: list[str] = []
        async for listed in listed_of(self._store, "windows", self._stream):
            before = self._known.get(listed.key)
            window = before if before and before.listed == listed else _window(listed)
            if window is None or (window.feed not in feeds and len(feeds) >= FEEDS):
                foreign.append(listed.key)
                continue
            feeds.add(window.feed)
            known[listed.key] = window
        self._known = known
        self._report(foreign)

    def _report(self, foreign: list[str]) -> None:
        self._foreign.set(len(foreign))
        if foreign and not self._reported:
            extra = {"stream": self._stream.name, "count": len(foreign), "first": foreign[0][:200]}
            log.warning("found objects among the windows that no archive named; they are left alone", extra=extra)
        self._reported = bool(foreign)

    def newest(self) -> dict[str, str]:
        """By feed the key of its newest window."""
        newest: dict[str, WindowFile] = {}
        for window in self._usable():
            if window.feed not in newest or window.name.order > newest[window.feed].name.order:
                newest[window.feed] = window
        return {feed: window.key for feed, window in newest.items()}

    def fresh(self, learned: Learned) -> int:
        """Windows that nothing has learned from yet."""
        after = {feed: _order(key) for feed, key in learned.items()}
        return sum(window.name.order > after.get(window.feed, OLDEST) for window in self._usable())

    async def newest_rows(self) -> Rows:
        """The newest records of every series: enough to learn from, and before them enough to warm up.

        What can't be used is set aside, and older windows take its place. Raises InvalidInput when none is left.
        """
        read: dict[str, Rows] = {}
        while wanted := [window for window in self._newest_windows() if window.key not in read]:
            read |= await self._read(wanted)
        if not read:
            raise InvalidInput(f"found no window of {self._stream.name} that can be used, expected some to learn from")
        return joined([read[window.key] for window in self._newest_windows()])

    async def all_rows(self, room: int) -> list[Rows]:
        """Of all windows, the newest first, until there are `room` rows."""
        parts: list[Rows] = []
        windows = sorted(self._usable(), key=lambda window: window.name.order, reverse=True)
        for first in range(0, len(windows), AT_ONCE):
            if room <= 0:
                log.warning("older windows are left out", extra={"stream": self._stream.name, "count": len(windows)})
                break
            by_key = await self._read(windows[first : first + AT_ONCE])
            parts += by_key.values()
            room -= sum(map(len, by_key.values()))
        return parts

    def _usable(self) -> Iterable[WindowFile]:
        return (window for window in self._known.values() if window.listed not in self._aside)

    def _newest_windows(self) -> list[WindowFile]:
        """As many of each series as `newest_rows` needs, in order of time."""
        by_series: dict[str, list[WindowFile]] = {}
        for window in self._usable():
            by_series.setdefault(window.series, []).append(window)
        records = -(-self._stream.retraining.records // max(1, len(by_series)))
        warm_up = min(WARM_UP, Layout.of(self._stream).remembered + self._stream.lags + max(self._stream.horizon))
        count = -(-(records + warm_up) // self._stream.window)
        ordered = (sorted(windows, key=lambda window: window.name.order) for windows in by_series.values())
        return [window for windows in ordered for window in windows[-count:]]

    async def _read(self, windows: list[WindowFile]) -> dict[str, Rows]:
        """By key the rows of those that can be used; the others are known no more, or are set aside."""
        parts: dict[str, Rows] = {}
        for first in range(0, len(windows), AT_ONCE):
            some = windows[first : first + AT_ONCE]
            rows_of_some = await asyncio.gather(*map(self._rows, some))
            parts |= {window.key: rows for window, rows in zip(some, rows_of_some, strict=True) if rows is not None}
        return parts

    async def _rows(self, window: WindowFile) -> Rows | None:
        try:
            body = await read(self._store, window.key, self._limit)
            return await self._reading.rows(body, self._stream, window.key, window.key.split("/")[2])
        except NotFound:
            # Old windows may be removed at any time.
            self._known.pop(window.key, None)
        except (TooLarge, InvalidInput) as error:
            await self._aside.add(window.listed, str(error))
        return None


def joined(parts: list[Rows]) -> Rows:
    """The rows of all parts, of each series those in its newest group."""
    rows = concatenate(parts)
    kept = rows.in_newest_groups()
    if len(kept) < len(rows):
        log.warning("rows left out: their series are in other groups since", extra={"count": len(rows) - len(kept)})
    return kept


OLDEST = (False, -1, -1, "")


def _order(key: str) -> tuple[bool, int, int, str]:
    """A window's order in time; what is no window's name, as an older trainer may have noted, before all."""
    name = parse(key.rpartition("/")[2])
    return name.order if name else OLDEST


def later(one: Learned, other: Learned) -> dict[str, str]:
    """By feed the newer of two windows."""
    return {
        feed: max((learned[feed] for learned in (one, other) if feed in learned), key=_order)
        for feed in one.keys() | other.keys()
    }
