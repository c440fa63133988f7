"""What only a folder has."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from driftline.errors import NotFound, StoreUnavailable, TooLarge, Unstorable
from driftline.store.folder import FolderStore

PATIENCE_S = 120


@pytest.mark.parametrize("key", ["../a", "/a", "a/../../b", "a/./b", ".lock", "", "a/.hidden"])
async def test_no_key_leaves_the_folder_or_touches_what_is_ours(tmp_path: Path, key: str):
    store = FolderStore(tmp_path / "store")
    with pytest.raises(Unstorable, match="expected a path such as"):
        await store.put(key, b"x")
    with pytest.raises(NotFound):
        await store.get(key)
    assert [listed.key async for listed in FolderStore(tmp_path).list("")] == []


async def test_a_name_that_no_disk_takes_is_told_apart_from_a_store_that_is_away(tmp_path: Path):
    store = FolderStore(tmp_path / "store")
    with pytest.raises(Unstorable, match="File name too long"):
        await store.put(f"windows/{'k' * 256}/a", b"x")
    with pytest.raises(NotFound):
        await store.get(f"windows/{'k' * 256}/a")


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


async def test_an_object_of_a_terabyte_is_refused_at_once(tmp_path: Path):
    (tmp_path / "models").mkdir()
    with (tmp_path / "models" / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TooLarge, match="models/huge: found 1099511627776 bytes, expected at most 4096 bytes"):
        await FolderStore(tmp_path).get("models/huge", limit=4096)


async def test_what_was_being_written_when_the_power_went_is_removed(tmp_path: Path):
    part = tmp_path / "models" / "a" / ".x7_gq1.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half of")
    store = FolderStore(tmp_path)
    await store.put("models/b/current.json", b"{}")
    assert not part.exists()
    assert [listed.key async for listed in store.list("models/")] == ["models/b/current.json"]
