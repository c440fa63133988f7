"""Looking at what is new costs what is new; all is listed where nothing is known, or more is named than there is."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from driftline.metrics import Metrics
from driftline.store.folder import FolderStore
from driftline.store.port import Listed
from driftline.store.windows import WindowName
from driftline_trainer import window_index
from driftline_trainer.window_index import WindowIndex


class CountedStore(FolderStore):
    """A folder that notes which prefixes are listed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.listings: list[str] = []

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        self.listings.append(prefix)
        async for listed in super().list(prefix, after=after):
            yield listed


def key(n: int, series: str = "k") -> str:
    return f"windows/a/{series}/{WindowName(n, n, 'aa').format()}"


@pytest.fixture
def store(tmp_path: Path) -> CountedStore:
    return CountedStore(tmp_path)


@pytest.fixture
async def index(store: CountedStore) -> WindowIndex:
    for n in range(3):
        await store.put(key(n), b"x")
    known = WindowIndex(store, "a", Metrics())
    await known.list_anew()
    store.listings.clear()
    return known


async def test_a_window_that_an_event_names_is_looked_at_alone(index: WindowIndex, store: CountedStore):
    await store.put(key(7), b"xyz")
    await index.look([key(7), "windows/b/k/other.parquet", "models/a"])
    assert store.listings == [key(7)]
    assert {window.key: window.listed.size for window in index}[key(7)] == 3


async def test_an_event_of_what_is_not_there_is_no_window(index: WindowIndex, store: CountedStore):
    await store.delete(key(1))
    await index.look([key(1), key(9)])
    assert [window.key for window in index] == [key(0), key(2)]


async def test_of_what_was_removed_here_no_event_is_followed(index: WindowIndex, store: CountedStore):
    await store.delete(key(1))
    index.forget(key(1))
    await index.look([key(1)])
    assert store.listings == []
    await store.put(key(1), b"x")
    await index.look([key(1)])
    assert len(index) == 3


async def test_before_all_was_listed_an_event_has_all_listed(store: CountedStore):
    await store.put(key(0), b"x")
    await store.put(key(1), b"x")
    index = WindowIndex(store, "a", Metrics())
    await index.look([key(1)])
    assert [window.key for window in index] == [key(0), key(1)]


async def test_where_more_is_named_than_a_listing_costs_all_is_listed(index: WindowIndex, store: CountedStore):
    for n in range(20):
        await store.put(key(n), b"x")
    await index.look([key(n) for n in range(20)])
    assert store.listings == ["windows/a/"]
    assert len(index) == 20


async def test_names_of_nobody_are_counted_until_they_are_gone(store: CountedStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(window_index, "FEEDS", 2)
    metrics = Metrics()
    index = WindowIndex(store, "a", metrics)
    await index.list_anew()
    for name in ("zzz.parquet", *(WindowName(n, n, edge).format() for n, edge in enumerate(("aa", "bb", "cc")))):
        await store.put(f"windows/a/k/{name}", b"x")
        await index.look([f"windows/a/k/{name}"])

    def shown(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"driftline_{name}", {"stream": "a"})

    assert (shown("windows_foreign"), shown("windows_small")) == (2, 2)
    await store.delete("windows/a/k/zzz.parquet")
    await index.look(["windows/a/k/zzz.parquet"])
    assert shown("windows_foreign") == 1
