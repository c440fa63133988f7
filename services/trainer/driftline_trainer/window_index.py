"""Which windows lie in the store: listed now and then, and between by the keys that events name."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from driftline.metrics import Metrics
from driftline.store.port import Listed, Store
from driftline.store.windows import WindowName, parse
from driftline_trainer.days.sampling import phase_of_folder

log = logging.getLogger(__name__)

FEEDS = 20_000
"""Series, each by each edge, whose windows are learned from: a manifest names the newest window of each."""
PARTS = 4
"""Of a window's key: windows/<source>/<key>/<name>."""
PAGE = 1000
"""Objects that a store shows with one request."""
AT_ONCE = 8
"""Requests that are under way."""


@dataclass(frozen=True)
class WindowFile:
    """A window as it is listed."""

    listed: Listed
    name: WindowName

    @property
    def key(self) -> str:
        return self.listed.key

    @property
    def edge(self) -> str:
        """Who archived it; none where it is named by offsets."""
        return self.name.edge or ""

    @cached_property
    def series(self) -> str:
        return self.key.rpartition("/")[0]

    @cached_property
    def folder(self) -> str:
        return self.series.rpartition("/")[2]

    @cached_property
    def feed(self) -> str:
        return f"{self.series}/{self.name.edge}" if self.name.edge else self.series

    @cached_property
    def phase(self) -> int:
        return phase_of_folder(self.folder)


def window_of(listed: Listed) -> WindowFile | None:
    """None for an object that no archive named."""
    parts = listed.key.split("/")
    name = parse(parts[-1]) if len(parts) == PARTS else None
    return WindowFile(listed, name) if name else None


class WindowIndex:
    """The windows below windows/<name>/, as far as they were listed or named."""

    def __init__(self, store: Store, name: str, metrics: Metrics) -> None:
        self.prefix = f"windows/{name}/"
        self._store = store
        self._name = name
        self._foreign_count = metrics.windows_foreign.labels(name)
        self._small_count = metrics.windows_small.labels(name)
        self._windows: dict[str, WindowFile] = {}
        self._feeds: set[str] = set()
        self._foreign: set[str] = set()
        self._removed: set[str] = set()
        self._reported = False
        self._listed = False
        # A listing would forget what is named meanwhile.
        self._one_at_a_time = asyncio.Lock()

    def __iter__(self) -> Iterator[WindowFile]:
        return iter(self._windows.values())

    def __len__(self) -> int:
        return len(self._windows)

    def forget(self, key: str) -> None:
        """The window is there no more."""
        self._windows.pop(key, None)
        self._removed.add(key)
        self._small_count.set(len(self._windows))

    async def list_anew(self) -> None:
        """Lists what there is. Raises StoreUnavailable."""
        async with self._one_at_a_time:
            before, self._feeds, self._foreign = self._windows, set[str](), set[str]()
            windows: dict[str, WindowFile] = {}
            async for listed in self._store.list(self.prefix):
                self._take(listed, before, windows)
            self._windows, self._listed = windows, True
            self._removed = set()
            self._report()

    async def look(self, keys: Iterable[str]) -> None:
        """Looks at the objects that events have named, which may be there or not. Raises StoreUnavailable."""
        mine = {key for key in keys if key.startswith(self.prefix)}
        # Of what was removed here events tell nothing new.
        removed = mine & self._removed
        self._removed -= removed
        mine -= removed
        if self._listed and not mine:
            return
        if not self._listed or len(mine) > max(AT_ONCE, len(self._windows) // PAGE):
            # One by one they would take more requests than all there is.
            await self.list_anew()
            return
        async with self._one_at_a_time:
            ordered = sorted(mine)
            for first in range(0, len(ordered), AT_ONCE):
                await asyncio.gather(*map(self._look_at, ordered[first : first + AT_ONCE]))
            self._report()

    async def _look_at(self, key: str) -> None:
        listed = [listed async for listed in self._store.list(key) if listed.key == key]
        if listed:
            self._take(listed[0], self._windows, self._windows)
        else:
            self._windows.pop(key, None)
            self._foreign.discard(key)

    def _take(self, listed: Listed, before: dict[str, WindowFile], windows: dict[str, WindowFile]) -> None:
        known = before.get(listed.key)
        window = known if known and known.listed == listed else window_of(listed)
        if window is None or (window.feed not in self._feeds and len(self._feeds) >= FEEDS):
            self._foreign.add(listed.key)
            return
        self._feeds.add(window.feed)
        windows[listed.key] = window

    def _report(self) -> None:
        self._foreign_count.set(len(self._foreign))
        self._small_count.set(len(self._windows))
        if self._foreign and not self._reported:
            extra = {"stream": self._name, "count": len(self._foreign), "first": min(self._foreign)[:200]}
            log.warning("found objects among the windows that no archive named; they are left alone", extra=extra)
        self._reported = bool(self._foreign)


class WindowIndexes:
    """The index of every name that windows are archived under: sources, and streams from before they had one."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._by_name: dict[str, WindowIndex] = {}

    def of(self, name: str) -> WindowIndex:
        if name not in self._by_name:
            self._by_name[name] = WindowIndex(self._store, name, self._metrics)
        return self._by_name[name]
