"""What every store keeps, in a folder and on S3."""

import asyncio
from contextlib import aclosing

import pytest

from driftline.errors import Conflict, NotFound, TooLarge, Unstorable
from driftline.store.object_names import folder_of
from driftline.store.port import Store, read

LONG_S = 600.0
PATIENCE_S = 120


async def keys(store: Store, prefix: str = "", after: str = "") -> list[str]:
    return [listed.key async for listed in store.list(prefix, after=after)]


async def test_what_was_put_is_got(store: Store):
    etag = await store.put("models/a/current.json", b"one")
    stored = await store.get("models/a/current.json")
    assert (stored.body, stored.etag) == (b"one", etag)


async def test_nothing_there_is_not_found(store: Store):
    with pytest.raises(NotFound):
        await store.get("models/none")


async def test_an_unchanged_object_is_not_sent_again(store: Store):
    etag = await store.put("a/b", b"one")
    assert await store.get("a/b", unless=etag) is None
    await store.put("a/b", b"two")
    assert (await store.get("a/b", unless=etag)).body == b"two"


async def test_if_absent_never_overwrites(store: Store):
    await store.put("a/b", b"one", if_absent=True)
    with pytest.raises(Conflict):
        await store.put("a/b", b"two", if_absent=True)
    assert (await store.get("a/b")).body == b"one"


async def test_if_match_overwrites_only_what_was_seen(store: Store):
    seen = await store.put("a/b", b"one")
    await store.put("a/b", b"two", if_match=seen)
    with pytest.raises(Conflict):
        await store.put("a/b", b"three", if_match=seen)
    with pytest.raises(Conflict):
        await store.put("a/none", b"three", if_match=seen)
    assert (await store.get("a/b")).body == b"two"


async def test_of_thirty_that_put_at_once_one_wins(store: Store):
    racing = (store.put("a/b", str(n).encode(), if_absent=True) for n in range(30))
    outcomes = await asyncio.gather(*racing, return_exceptions=True)
    winners = [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
    assert len(winners) == 1
    assert all(isinstance(outcome, Conflict) for n, outcome in enumerate(outcomes) if n not in winners)
    assert (await store.get("a/b")).body == str(winners[0]).encode()


async def test_a_listing_is_in_order_whole_and_begins_after(store: Store):
    names = [f"windows/s/k/{n:05d}.parquet" for n in range(1200)]
    for start in range(0, len(names), 100):
        await asyncio.gather(*(store.put(name, b"x") for name in names[start : start + 100]))
    await store.put("windows/t/other", b"y")
    assert await keys(store, "windows/s/") == names
    assert await keys(store, "windows/s/k/", after=names[1000]) == names[1001:]
    assert await keys(store, "nothing/") == []


async def test_a_listing_knows_sizes(store: Store):
    await store.put("a/b", b"12345")
    assert [listed.size async for listed in store.list("a/")] == [5]


async def test_what_was_deleted_is_gone(store: Store):
    await store.put("a/b", b"one")
    await store.delete("a/b")
    await store.delete("a/b")
    with pytest.raises(NotFound):
        await store.get("a/b")


@pytest.mark.parametrize("key", ["a/site a/temp+x", "a/100%/ü", "a/=,~!"])
async def test_odd_keys_are_kept(store: Store, key: str):
    await store.put(key, b"one")
    assert (await store.get(key)).body == b"one"
    assert await keys(store, "a/") == [key]


ODD = [
    *(".hidden", ".", "..", "...", "a/b", "../../x", "a", "A", " a", "a ", "a\u200bb", "100%", "%2E", "-", "~", "a=b"),
    *("0", "é", "e\u0301", "風" * 60, "/" * 200, "\U0001f300" * 200, "x" * 200, "CON", "a\\b", "a:b*?<>|", "\ud800"),
]


async def test_every_key_has_a_folder_of_its_own_inside_its_stream_s(store: Store):
    for number, key in enumerate(ODD):
        await store.put(f"windows/s/{folder_of(key)}/w", str(number).encode(), if_absent=True)
    for number, key in enumerate(ODD):
        assert (await store.get(f"windows/s/{folder_of(key)}/w")).body == str(number).encode()
    assert len(await keys(store, "windows/s/")) == len(await keys(store)) == len(ODD)


@pytest.mark.parametrize("key", ["", "a/../b", "a/./b", "a//b", "/a", "a/", "x/" * 600 + "x", "a/\ud800", "a/\0"])
async def test_what_it_will_never_take_is_told_apart_from_being_away(store: Store, key: str):
    with pytest.raises(Unstorable, match=r"found .*expected"):
        await store.put(key, b"one", if_absent=True)
    assert await keys(store) == []


async def test_large_objects_are_kept(store: Store):
    body = bytes(range(256)) * 32_768
    await store.put("a/b", body)
    assert (await store.get("a/b")).body == body


async def test_an_object_over_the_limit_is_refused_with_both_sizes_and_one_at_it_is_got(store: Store):
    etag = await store.put("a/b", b"12345")
    assert await read(store, "a/b", 5) == b"12345"
    with pytest.raises(TooLarge, match="a/b: found 5 bytes, expected at most 4 bytes"):
        await store.get("a/b", limit=4)
    assert await store.get("a/b", unless=etag, limit=5) is None


async def test_a_watch_wakes_at_once_and_at_every_poll(store: Store):
    async with asyncio.timeout(PATIENCE_S), aclosing(store.watch("models/", poll=0.01)) as wakes:
        for _ in range(3):
            await anext(wakes)


async def test_a_store_that_is_there_passes_its_check(store: Store):
    await store.check()
