"""What only a folder has."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from driftline.errors import NotFound, StoreUnavailable
from driftline.folder import FolderStore

PATIENCE_S = 120


@pytest.mark.parametrize("key", ["../a", "/a", "a/../../b", ".lock", "", "a/.hidden"])
async def test_no_key_leaves_the_folder_or_touches_what_is_ours(tmp_path: Path, key: str):
    with pytest.raises(NotFound, match="expected a path such as"):
        await FolderStore(tmp_path / "store").put(key, b"x")


async def test_a_watch_wakes_by_the_file_systems_event_long_before_the_poll(tmp_path: Path):
    store = FolderStore(tmp_path)
    await store.put("models/a", b"one")
    async with asyncio.timeout(PATIENCE_S), aclosing(store.watch("models/", poll=600.0)) as wakes:
        await anext(wakes)
        waking = asyncio.ensure_future(anext(wakes))
        while not waking.done():
            await store.put("models/a", b"two")
            await asyncio.wait({waking}, timeout=0.05)


async def test_a_root_that_is_no_folder_is_a_store_that_is_away(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    store = FolderStore(tmp_path / "file")
    with pytest.raises(StoreUnavailable):
        await store.put("a/b", b"x")
    with pytest.raises(StoreUnavailable):
        await store.check()


async def test_nothing_but_whole_objects_is_listed(tmp_path: Path):
    store = FolderStore(tmp_path)
    await store.put("a/b", b"x")
    (tmp_path / "a" / ".half-written").write_bytes(b"ha")
    assert [listed.key async for listed in store.list("")] == ["a/b"]
