"""An edge leaves what it has learned in the store: only what has changed, sealed, one whole generation at a time."""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path

import pytest
from pydantic import SecretStr

from driftline.bus.memory import MemoryBus
from driftline.bus.port import Checkpoint
from driftline.bus.seeding import seed
from driftline.errors import Conflict, InvalidInput, StoreUnavailable
from driftline.fleet import names
from driftline.fleet.keeping import StateKeeper
from driftline.fleet.kept import BUCKET_BYTES, MOST_BUCKETS, bucket_count
from driftline.fleet.replacing import all_states, replace
from driftline.fleet.sealing import KEY_BYTES, FleetKey
from driftline.messages import RECORDS
from driftline.names import INFERENCE_GROUP
from driftline.service.settings import read_settings
from driftline.store.folder import FolderStore
from driftline.store.port import Store
from driftline_inference.settings import InferenceSettings
from tests.fleet.edges import KEY, PARTITIONS, keeper

EDGE = "edge1"
SERIES = 400
BYTES = 20_000


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
async def bus() -> MemoryBus:
    """Some MB of states."""
    bus = MemoryBus(PARTITIONS)
    states = {p: {f"a/{p}-{n}": bytes([n % 256]) * BYTES for n in range(SERIES // 4)} for p in range(PARTITIONS)}
    await seed(bus, RECORDS, INFERENCE_GROUP, states, PARTITIONS)
    return bus


async def change(bus: MemoryBus, states: dict[str, bytes | None]) -> None:
    """As a checkpoint of partition 0 does."""

    class _Owner:
        async def restore(self, partition, states) -> None: ...

        def assigned(self, assignment) -> None: ...

        async def revoked(self, partition) -> None: ...

    async with bus.join(RECORDS, INFERENCE_GROUP, _Owner()) as subscription:
        await subscription.poll(1, 0)
        await subscription.commit(Checkpoint(0, 5, states))


async def keys(store: Store) -> set[str]:
    return {listed.key async for listed in store.list("")}


async def test_only_what_has_changed_is_written(store: FolderStore, bus: MemoryBus):
    keeping = keeper(bus, store, EDGE)
    first = await keeping.leave()
    assert first.size > SERIES * BYTES
    before = await keys(store)
    assert 4 < len(before) == first.objects < 20
    # An edge at rest writes nothing at all, also after a restart.
    assert [(await keeping.leave()).objects, (await keeper(bus, store, EDGE).leave()).objects] == [0, 0]
    assert await keys(store) == before
    await change(bus, {"a/0-7": b"new"})
    second = await keeping.leave()
    assert second.objects == 2, "a bucket and the index"
    assert second.size < first.size / 3
    after = await keys(store)
    assert (len(after), len(after - before), len(before - after)) == (len(before), 1, 1)
    await change(bus, {"a/0-8": None, "b/0": b"x"})
    await keeping.leave()
    fresh = MemoryBus(PARTITIONS)
    await replace(EDGE, fresh, store, KEY, partitions=PARTITIONS)
    assert await saved(fresh) == await saved(bus)


async def saved(bus: MemoryBus) -> set[tuple[str, int, str, bytes]]:
    return {(kept.group, kept.partition, kept.name, kept.state) for kept in await all_states(bus)}


async def test_what_was_left_can_be_read_by_nobody_else(store: FolderStore, bus: MemoryBus):
    await change(bus, {"a/secret-key": b"a secret value"})
    await keeper(bus, store, EDGE).leave()
    bodies = [(await store.get(key)).body for key in await keys(store)]
    assert bodies
    assert not any(word in body for body in bodies for word in (b"secret", b"inference", bytes([7]) * 16))


class Listening(logging.Filter):
    """Knows whether something was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.has_heard = asyncio.Event()

    def filter(self, record: logging.LogRecord) -> bool:
        self.has_heard.set()
        return True


async def test_without_a_key_nothing_is_left_and_it_is_said_once(
    store: FolderStore, bus: MemoryBus, caplog: pytest.LogCaptureFixture
):
    keeping, listening = keeper(bus, store, EDGE, None, every=0.001), Listening()
    with caplog.at_level(logging.INFO), caplog.filtering(listening):
        task = asyncio.create_task(keeping.run())
        async with asyncio.timeout(120):
            await listening.has_heard.wait()
        await keeping.stop()
        await task
    assert [record.message for record in caplog.records] == [
        "no learned state is left in the store, since DRIFTLINE_FLEET_KEY_FILE is not set"
    ]
    assert (await keeping.leave()).objects == 0
    assert await keys(store) == set()


async def test_it_comes_again_and_again_and_ends_when_it_should(store: FolderStore, bus: MemoryBus):
    keeping = keeper(bus, store, EDGE, every=0.01)
    task = asyncio.create_task(keeping.run())
    async with asyncio.timeout(120), aclosing(store.watch(names.state_prefix(EDGE), poll=0.1)) as waking:
        async for _ in waking:
            if names.state_index_key(EDGE) in await keys(store):
                break
        etag = (await store.get(names.state_index_key(EDGE))).etag
        await change(bus, {"a/0-7": b"new"})
        async for _ in waking:
            if (await store.get(names.state_index_key(EDGE))).etag != etag:
                break
    await keeping.stop()
    await task


async def test_a_replica_that_does_not_own_the_first_partition_writes_nothing(store: FolderStore, bus: MemoryBus):
    asked = asyncio.Event()

    def no() -> bool:
        asked.set()
        return False

    keeping = keeper(bus, store, EDGE, every=0.001, is_writer=no)
    task = asyncio.create_task(keeping.run())
    async with asyncio.timeout(120):
        await asked.wait()
    await keeping.stop()
    await task
    assert await keys(store) == set()


class Cut(FolderStore):
    """A store that is away after so many puts."""

    def __init__(self, root: Path, puts: int) -> None:
        super().__init__(root)
        self.puts = puts

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        self.puts -= 1
        if self.puts < 0:
            raise StoreUnavailable("the link is cut")
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)


@pytest.mark.parametrize("puts", range(6))
async def test_a_generation_counts_when_it_is_whole(bus: MemoryBus, tmp_path: Path, puts: int):
    store = Cut(tmp_path / "store", 1000)
    await keeper(bus, store, EDGE).leave()
    before = await saved(bus)
    await change(bus, {f"a/0-{n}": b"new" for n in range(SERIES // 4)})
    store.puts = puts
    keeping = keeper(bus, store, EDGE)
    with suppress(StoreUnavailable):
        await keeping.leave()
    is_whole = store.puts >= 0
    fresh = MemoryBus(PARTITIONS)
    await replace(EDGE, fresh, store, KEY, partitions=PARTITIONS)
    assert await saved(fresh) == (await saved(bus) if is_whole else before)
    # Next time all is well, and nothing is left over of what was cut.
    store.puts = 1000
    await keeping.leave()
    fresh = MemoryBus(PARTITIONS)
    replacement = await replace(EDGE, fresh, store, KEY, partitions=PARTITIONS)
    assert await saved(fresh) == await saved(bus)
    assert replacement.states == SERIES
    assert len(await keys(store)) < 20


async def test_another_device_under_the_same_id_is_found_and_mixes_nothing(store: FolderStore, bus: MemoryBus):
    one, other = keeper(bus, store, EDGE), keeper(bus, store, EDGE)
    await one.leave()
    await other.leave()
    await change(bus, {"a/0-7": b"new"})
    await one.leave()
    await change(bus, {"a/0-8": b"new"})
    with pytest.raises(Conflict, match="another device leaves its states under this edge's id 'edge1'"):
        await other.leave()
    fresh = MemoryBus(PARTITIONS)
    assert (await replace(EDGE, fresh, store, KEY, partitions=PARTITIONS)).states == SERIES


class Overtaken(FolderStore):
    """A store in which somebody else does something just before an index is written."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if self.meanwhile is not None and key == names.state_index_key(EDGE):
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)


async def test_who_tidies_up_takes_nothing_from_a_generation_that_is_being_written(bus: MemoryBus, tmp_path: Path):
    await keeper(bus, FolderStore(tmp_path), EDGE).leave()
    copied = await copy_of(bus)
    await change(bus, {"a/0-7": b"new"})
    store = Overtaken(tmp_path)
    # A copied card, on which nothing has changed.
    store.meanwhile = keeper(copied, FolderStore(tmp_path), EDGE).leave
    await keeper(bus, store, EDGE).leave()
    fresh = MemoryBus(PARTITIONS)
    assert (await replace(EDGE, fresh, store, KEY, partitions=PARTITIONS)).states == SERIES
    assert await saved(fresh) == await saved(bus)


async def copy_of(bus: MemoryBus) -> MemoryBus:
    parts: dict[int, dict[str, bytes]] = {}
    for kept in await all_states(bus):
        parts.setdefault(kept.partition, {})[kept.name] = kept.state
    copied = MemoryBus(PARTITIONS)
    await seed(copied, RECORDS, INFERENCE_GROUP, parts, PARTITIONS)
    return copied


@pytest.mark.parametrize("index", [b"", b"garbage", b"DLS\x01" + bytes(100), b"\0" * (2 << 20)])
async def test_an_index_that_can_not_be_read_is_written_again(store: FolderStore, bus: MemoryBus, index: bytes):
    await keeper(bus, store, EDGE).leave()
    await store.put(names.state_index_key(EDGE), index)
    await keeper(bus, store, EDGE).leave()
    assert (await replace(EDGE, MemoryBus(PARTITIONS), store, KEY, partitions=PARTITIONS)).states == SERIES
    assert len(await keys(store)) < 20


async def test_a_new_fleet_key_seals_all_of_it_again(store: FolderStore, bus: MemoryBus):
    await keeper(bus, store, EDGE).leave()
    new = FleetKey(b"n" * KEY_BYTES)
    await keeper(bus, store, EDGE, new).leave()
    assert (await replace(EDGE, MemoryBus(PARTITIONS), store, new, partitions=PARTITIONS)).states == SERIES


async def test_an_edge_without_states_leaves_an_index_alone(store: FolderStore):
    keeping: StateKeeper = keeper(MemoryBus(PARTITIONS), store, EDGE)
    assert (await keeping.leave()).objects == 1
    assert (await keeping.leave()).objects == 0


def test_buckets_are_as_many_as_their_content_needs_and_seldom_others():
    assert [bucket_count(size, 0) for size in (0, BUCKET_BYTES, BUCKET_BYTES + 1, 60 * BUCKET_BYTES)] == [1, 1, 2, 64]
    assert bucket_count(1 << 50, 0) == MOST_BUCKETS
    assert [bucket_count(size * BUCKET_BYTES, 64) for size in (64, 33, 17, 9, 8)] == [64, 64, 64, 64, 8]
    assert bucket_count(65 * BUCKET_BYTES, 64) == 128


@pytest.mark.parametrize("content", [bytes(range(32)), b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"])
def test_a_key_is_32_bytes_or_their_base64(tmp_path: Path, content: bytes):
    (tmp_path / "key").write_bytes(content)
    assert FleetKey.read(tmp_path / "key").secret == bytes(range(32))


@pytest.mark.parametrize("content", [b"", b"\0" * 31, b"\0" * 33, b"AAEC\n", "ä".encode()])
def test_anything_else_is_no_key(tmp_path: Path, content: bytes):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(InvalidInput, match="found no key of 32 bytes, expected those or their base64"):
        FleetKey.read(tmp_path / "key")
    with pytest.raises(InvalidInput, match="expected a file with the fleet's key: No such file"):
        FleetKey.read(tmp_path / "missing")


def test_a_shared_secret_seals_unless_joining_has_brought_a_key(tmp_path: Path):
    (tmp_path / "key").write_bytes(b"j" * KEY_BYTES)
    shared = SecretStr(base64.b64encode(b"s" * KEY_BYTES).decode())
    by_secret, by_file = InferenceSettings(fleet_key=shared), tmp_path / "key"
    by_joining = InferenceSettings(fleet_key=shared, fleet_key_file=by_file)
    keys = [key.secret for settings in (by_secret, by_joining) if (key := settings.sealing_key()) is not None]
    assert keys == [b"s" * KEY_BYTES, b"j" * KEY_BYTES]
    assert InferenceSettings().sealing_key() is None
    with pytest.raises(InvalidInput, match=r"DRIFTLINE_FLEET_KEY: .*expected 32 bytes in base64") as refused:
        read_settings(InferenceSettings, "inference", fleet_key=SecretStr("hush"))
    assert "hush" not in str(refused.value)
