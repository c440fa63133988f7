"""A device that replaces an edge goes on as if it was that edge."""

from pathlib import Path

import msgspec
import pytest

from driftline.bus.edge import edge_id
from driftline.bus.port import Bus
from driftline.bus.seeding import seed
from driftline.errors import InvalidInput, NotFound, RefusedBackup
from driftline.fleet import names
from driftline.fleet.heartbeat import Heartbeat
from driftline.fleet.kept import TOPICS, KeptState
from driftline.fleet.notes import sealed
from driftline.fleet.replacing import replace, take_up
from driftline.fleet.sealing import MAGIC, FleetKey
from driftline.messages import BLENDS, EDGE, RECORDS
from driftline.names import INFERENCE_GROUP
from driftline.store.folder import FolderStore
from tests.fleet.edges import KEY, PARTITIONS, blends, keeper, opened, working
from tests.upgrade import kept

OLD = "old1"
NOW = 1_800_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


async def live(folder: Path, store: FolderStore) -> None:
    """An edge that learns, leaves its states and ends."""
    async with opened(folder) as bus:
        await blends(bus, kept.learned())
        left = await keeper(bus, store, OLD).leave()
        assert left.objects > 1


async def test_its_first_forecasts_are_those_that_its_predecessor_would_have_made(store: FolderStore, tmp_path: Path):
    await live(tmp_path / "a", store)
    async with opened(tmp_path / "a") as bus:
        expected = await blends(bus, kept.following())
    async with opened(tmp_path / "b") as bus:
        replacement = await replace(OLD, bus, store, KEY, partitions=PARTITIONS)
        assert (replacement.edge, await edge_id(bus)) == (OLD, OLD)
        # Two services with two series each, and their streams' times.
        assert replacement.states >= 2 * len(kept.KEYS)
        assert [*map(BLENDS.encode, await blends(bus, kept.following()))] == [*map(BLENDS.encode, expected)]
    async with opened(tmp_path / "c") as bus:
        anew = await blends(bus, kept.following())
    assert [*map(BLENDS.encode, anew)] != [*map(BLENDS.encode, expected)]


async def test_records_after_the_last_time_that_states_were_left_are_missing_and_no_more(
    store: FolderStore, tmp_path: Path
):
    await live(tmp_path / "a", store)
    gap = len(kept.KEYS) * 10
    async with opened(tmp_path / "a") as bus:
        await blends(bus, kept.following()[:gap])
    async with opened(tmp_path / "b") as bus:
        await replace(OLD, bus, store, KEY, partitions=PARTITIONS)
        after = await blends(bus, kept.following()[gap:])
    assert len(after) == len(kept.following()) - gap
    assert all(value is not None for blend in after for value in blend.value)
    # Sent again by sensors that kept them, they are taken as late records are: nothing is published twice.
    async with opened(tmp_path / "c") as bus:
        await replace(OLD, bus, store, KEY, partitions=PARTITIONS)
        await blends(bus, kept.following())
        async with working(bus):
            await bus.publish(RECORDS, kept.following()[:gap])
        published = [(envelope.value.key, envelope.value.t) for envelope in await bus.read(BLENDS)]
    assert len(published) == len(set(published))


async def test_a_new_device_survives_being_stopped_before_its_first_record(store: FolderStore, tmp_path: Path):
    await live(tmp_path / "a", store)
    async with opened(tmp_path / "a") as bus:
        expected = await blends(bus, kept.following())
    async with opened(tmp_path / "b") as bus:
        await replace(OLD, bus, store, KEY, partitions=PARTITIONS)
        async with working(bus):
            pass
    async with opened(tmp_path / "b") as bus:
        assert [*map(BLENDS.encode, await blends(bus, kept.following()))] == [*map(BLENDS.encode, expected)]


async def test_whoever_was_interrupted_begins_again(store: FolderStore, tmp_path: Path):
    await live(tmp_path / "a", store)
    async with opened(tmp_path / "a") as bus:
        expected = await blends(bus, kept.following())
    async with opened(tmp_path / "b") as bus:
        # Killed when some states were there, and the id was not.
        await take_up_some(bus)
        assert not await bus.read(EDGE)
    async with opened(tmp_path / "b") as bus:
        await replace(OLD, bus, store, KEY, partitions=PARTITIONS)
        assert [*map(BLENDS.encode, await blends(bus, kept.following()))] == [*map(BLENDS.encode, expected)]
        with pytest.raises(InvalidInput, match="is the edge 'old1' already"):
            await replace(OLD, bus, store, KEY, partitions=PARTITIONS)


async def take_up_some(bus: Bus) -> None:
    await seed(bus, RECORDS, INFERENCE_GROUP, {1: {"kept/north": b"something else"}}, PARTITIONS)


async def test_a_device_with_an_id_or_data_of_its_own_is_refused(store: FolderStore, tmp_path: Path):
    await live(tmp_path / "a", store)
    async with opened(tmp_path / "b") as bus:
        await edge_id(bus, lambda: "another")
        with pytest.raises(InvalidInput, match="found the edge 'another' on this device, expected none"):
            await replace(OLD, bus, store, KEY, partitions=PARTITIONS)
    async with opened(tmp_path / "c") as bus:
        await blends(bus, kept.learned())
        with pytest.raises(InvalidInput, match="found data that 'combiner' has worked off, expected none"):
            await replace(OLD, bus, store, KEY, partitions=PARTITIONS)
        assert not await bus.read(EDGE)


def heartbeat(at: float) -> bytes:
    return sealed(Heartbeat(edge=OLD, name="a", boot="b", number=1, started=at, at=at, every=60.0, software="0"), None)


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (0.0, "reported 0 s ago, so it still lives"),
        (299.0, "299 s ago"),
        (-301.0, "301 s ahead of this device's clock"),
    ],
)
async def test_an_edge_that_lives_is_replaced_by_force_alone(store: FolderStore, tmp_path: Path, age: float, said: str):
    await live(tmp_path / "a", store)
    await store.put(names.heartbeat_key(OLD), heartbeat(NOW - age))
    async with opened(tmp_path / "b") as bus:
        with pytest.raises(InvalidInput, match=said):
            await replace(OLD, bus, store, KEY, partitions=PARTITIONS, clock=lambda: NOW)
        assert (await replace(OLD, bus, store, KEY, partitions=PARTITIONS, force=True, clock=lambda: NOW)).edge == OLD


@pytest.mark.parametrize("note", [heartbeat(NOW - 301), b"garbage", b"{}"])
async def test_an_edge_that_was_silent_for_long_or_says_nothing_of_use_is_replaced(
    store: FolderStore, tmp_path: Path, note: bytes
):
    await live(tmp_path / "a", store)
    await store.put(names.heartbeat_key(OLD), note)
    async with opened(tmp_path / "b") as bus:
        assert (await replace(OLD, bus, store, KEY, partitions=PARTITIONS, clock=lambda: NOW)).edge == OLD


async def refused(store: FolderStore, folder: Path, *, key: FleetKey = KEY, partitions: int = PARTITIONS) -> str:
    """Why it is refused; nothing is on the bus then."""
    async with opened(folder) as bus:
        with pytest.raises((RefusedBackup, NotFound, InvalidInput)) as error:
            await replace(OLD, bus, store, key, partitions=partitions)
        assert not await bus.read(EDGE)
        for group, topic in TOPICS.items():
            assert [part async for _, part in bus.states(topic, group) if part] == []
    return str(error.value)


async def test_what_can_not_be_taken_up_leaves_nothing_behind(store: FolderStore, tmp_path: Path):
    assert "found no states of the edge 'old1'" in await refused(store, tmp_path / "b")
    await live(tmp_path / "a", store)
    index = names.state_index_key(OLD)
    assert "does not open with this fleet key" in await refused(store, tmp_path / "b", key=FleetKey(bytes(32)))
    assert "expected 5: set DRIFTLINE_PARTITIONS=4" in await refused(store, tmp_path / "b", partitions=5)
    (part, *_) = [listed.key async for listed in store.list(names.state_prefix(OLD)) if listed.key != index]
    whole, named = (await store.get(part)).body, (await store.get(index)).body
    for body, said in (
        (whole[:-1], "damaged"),
        (whole[:10], "or a part of it"),
        (b"", "or a part of it"),
        (b"\0" * len(whole), "or a part of it"),
        (MAGIC + b"\2" + whole[4:], "found version 2, expected 1: use the release that wrote it"),
        (named, "left under another name"),
        (whole + b"more", "expected at most"),
    ):
        await store.put(part, body)
        assert said in await refused(store, tmp_path / "b")
    await store.delete(part)
    assert "although the index names it" in await refused(store, tmp_path / "b")
    await store.put(part, whole)
    await store.put(index, whole)
    assert "left under another name" in await refused(store, tmp_path / "b")


async def test_states_of_another_edge_do_not_open_in_its_place(store: FolderStore, tmp_path: Path):
    await live(tmp_path / "a", store)
    async for listed in store.list(names.state_prefix(OLD)):
        other = names.state_prefix("other") + listed.key.removeprefix(names.state_prefix(OLD))
        await store.put(other, (await store.get(listed.key)).body)
    async with opened(tmp_path / "b") as bus:
        with pytest.raises(RefusedBackup, match="does not open with this fleet key"):
            await replace("other", bus, store, KEY, partitions=PARTITIONS)


@pytest.mark.parametrize("edge", ["", "Old", "a/b", "..", "a" * 65])
async def test_what_is_no_id_is_refused(store: FolderStore, tmp_path: Path, edge: str):
    async with opened(tmp_path / "b") as bus:
        with pytest.raises(InvalidInput, match="expected up to 64 small letters and digits"):
            await replace(edge, bus, store, KEY, partitions=PARTITIONS)


async def test_states_of_a_later_release_are_refused_before_any_is_written(tmp_path: Path):
    async with opened(tmp_path / "b") as bus:
        with pytest.raises(RefusedBackup, match="found states of 'planner', which this release does not know"):
            await take_up(bus, OLD, [KeptState("inference", 0, "a/b", b"x"), KeptState("planner", 0, "a", b"x")], 4)
        assert not await bus.read(EDGE)


async def test_states_of_a_former_release_go_on(tmp_path: Path):
    """What release 0.1.0 wrote into its checkpoints is taken up as it is: it moves with a backup, too."""
    released = kept.load()
    states = [
        KeptState(group, 0, f"kept/{key}", state)
        for group, saved in (("inference", released.forecast_states), ("combiner", released.blend_states))
        for key, state in saved.items()
    ]
    async with opened(tmp_path / "b") as bus:
        await take_up(bus, OLD, states, PARTITIONS)
        first = (await blends(bus, kept.following()))[0]
    former = next(forecast for forecast in released.forecasts if (forecast.key, forecast.t) == (first.key, first.t))
    assert first.members["rls"] == pytest.approx(former.members["rls"], rel=0.05)
    assert msgspec.json.encode(first.members["persistence"]) == msgspec.json.encode(former.members["persistence"])
