"""A change of the definitions goes out in stages: edges take it in by their ranks, and the trainer waits for them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from driftline.errors import RefusedNote, TooLarge
from driftline.fleet.definitions import FILES, KEY, LIMIT, DefinitionBundle, read_bundle, version_of
from driftline.fleet.heartbeat import Heartbeat
from driftline.fleet.names import heartbeat_key
from driftline.fleet.notes import sealed
from driftline.fleet.reading import SILENT_S, StoreHeartbeats
from driftline.fleet.rollout import rank
from driftline.models.signing import Signer, Trust, new_key
from driftline.store.folder import FolderStore
from driftline_trainer.fleet_door.definitions import DefinitionPublisher, DefinitionStages
from tests.conftest import ROOT

SIGNER = Signer(new_key())
TRUST = Trust([SIGNER.public])
HOLD_S = 600.0
YEARS_S = 10 * 365 * 86_400.0
EDGES = [f"edge{n}" for n in range(20)]
STREAM = (ROOT / "streams" / "outdoor-temperature.yaml").read_text(encoding="utf-8")
NAME = "outdoor-temperature.yaml"


class Cloud:
    """A trainer's publisher, and edges that say what they have taken in. The clock is the trainer's."""

    def __init__(self, root: Path, stages: tuple[str, ...] = ("1", "10%", "100%")) -> None:
        self.streams, self.store, self.now = root / "streams", FolderStore(root / "store"), 1_790_000_000.0
        self.streams.mkdir()
        self.edit(STREAM)
        self.begin_again(*stages)

    def begin_again(self, *stages: str) -> None:
        """Another trainer, with these stages."""
        self.publisher = DefinitionPublisher(
            self.streams,
            self.store,
            SIGNER,
            TRUST,
            StoreHeartbeats(self.store, clock=lambda: self.now, ticks=lambda: self.now),
            DefinitionStages(stages, HOLD_S),
            clock=lambda: self.now,
        )

    def edit(self, text: str) -> None:
        (self.streams / NAME).write_text(text, encoding="utf-8")

    async def look(self, after: float = 10.0) -> DefinitionBundle:
        """Twice, since a file may be in the midst of being written."""
        self.now += after
        await self.publisher.look()
        await self.publisher.look()
        return await self.bundle()

    async def bundle(self) -> DefinitionBundle:
        stored = await self.store.get(KEY)
        assert stored is not None
        return read_bundle(stored.body, TRUST)

    async def edges_say(self, *, but: str = "", edges: Sequence[str] = EDGES) -> set[str]:
        """Every edge takes in what is meant for it, and says so, but for one; gives those that try the change."""
        bundle = await self.bundle()
        tries = set()
        for edge in edges:
            version = bundle.version_for(edge, {})
            tries |= {edge} if bundle.trial is not None and version == bundle.trial.version else set()
            said = bundle.version if edge == but else version
            heartbeat = Heartbeat(
                edge=edge,
                name=edge,
                boot="b",
                number=1,
                started=self.now,
                at=self.now,
                every=60.0,
                software="1",
                definitions=said,
            )
            await self.store.put(heartbeat_key(edge), sealed(heartbeat, None))
        return tries


@pytest.fixture
async def cloud(tmp_path: Path) -> Cloud:
    """All edges have the first definitions."""
    made = Cloud(tmp_path)
    await made.look()
    await made.edges_say()
    return made


def changed(description: str) -> str:
    return f"{STREAM}\n# {description}\n"


async def test_a_change_reaches_one_edge_then_some_then_all(cloud: Cloud):
    before = await cloud.bundle()
    cloud.edit(changed("other lags"))
    bundle = await cloud.look()
    assert (bundle.version, bundle.files) == (before.version, before.files), "all others keep what they have"
    tries = await cloud.edges_say()
    assert len(tries) == 1
    await cloud.look(after=HOLD_S)
    more = await cloud.edges_say()
    assert len(more) == 2
    assert tries < more
    bundle = await cloud.look(after=HOLD_S)
    assert (bundle.trial, bundle.version) == (None, version_of({NAME: changed("other lags")}))
    assert bundle.number > before.number


async def test_a_stage_waits_for_its_edges_and_for_its_time(cloud: Cloud):
    cloud.edit(changed("other lags"))
    first = await cloud.look()
    assert first.trial is not None
    (edge,) = await cloud.edges_say()
    assert (await cloud.look(after=HOLD_S / 2)) == first, "it has not lasted"
    await cloud.edges_say(but=edge)
    assert (await cloud.look(after=HOLD_S)) == first, "its edge has not taken it in"
    await cloud.edges_say()
    second = await cloud.look()
    assert second.trial is not None
    assert second.trial.stage == 1


async def test_a_change_that_is_taken_back_leaves_all_as_they_were(cloud: Cloud):
    before = await cloud.bundle()
    cloud.edit(changed("a mistake"))
    assert (await cloud.look()).trial is not None
    cloud.edit(STREAM)
    after = await cloud.look()
    assert (after.trial, after.version) == (None, before.version)


async def test_another_change_takes_the_place_of_the_one_on_trial(cloud: Cloud):
    cloud.edit(changed("one"))
    await cloud.look()
    cloud.edit(changed("two"))
    bundle = await cloud.look()
    assert bundle.trial is not None
    assert bundle.trial.version == version_of({NAME: changed("two")})
    assert bundle.version == version_of({NAME: STREAM})


async def test_a_trainer_that_begins_again_goes_on_with_the_stage(cloud: Cloud):
    cloud.edit(changed("other lags"))
    await cloud.look()
    await cloud.edges_say()
    cloud.begin_again("1", "10%", "100%")
    bundle = await cloud.look(after=HOLD_S)
    assert bundle.trial is not None
    assert bundle.trial.stage == 1


async def test_a_stage_whose_edge_falls_silent_takes_another_one_in(cloud: Cloud):
    cloud.edit(changed("other lags"))
    await cloud.look()
    (gone,) = await cloud.edges_say()
    await cloud.look()
    left = [edge for edge in EDGES if edge != gone]
    cloud.now += 2 * SILENT_S
    await cloud.edges_say(edges=left)
    bundle = await cloud.look()
    assert bundle.trial is not None
    assert bundle.trial.stage == 0
    assert len(await cloud.edges_say(edges=left)) == 1
    bundle = await cloud.look(after=HOLD_S)
    assert bundle.trial is not None
    assert bundle.trial.stage == 1


async def test_a_stage_that_began_by_a_clock_years_ahead_lasts_as_long_as_others(cloud: Cloud):
    cloud.now += YEARS_S
    await cloud.edges_say()
    cloud.edit(changed("other lags"))
    assert (await cloud.look()).trial is not None
    cloud.now -= YEARS_S
    cloud.begin_again("1", "10%", "100%")
    await cloud.edges_say()
    bundle = await cloud.look()
    assert bundle.trial is not None
    assert (bundle.trial.stage, bundle.trial.since) == (0, cloud.now)
    bundle = await cloud.look(after=HOLD_S)
    assert bundle.trial is not None
    assert bundle.trial.stage == 1


async def test_stages_made_fewer_name_a_stage_that_began_by_a_clock_years_ahead(cloud: Cloud):
    """Its number is of a stage that is none any more."""
    cloud.edit(changed("other lags"))
    await cloud.look()
    await cloud.edges_say()
    cloud.now += YEARS_S
    await cloud.edges_say()
    assert (await cloud.look(after=HOLD_S)).trial is not None
    cloud.now -= YEARS_S
    cloud.begin_again("1")
    await cloud.edges_say()
    bundle = await cloud.look()
    assert bundle.trial is not None
    assert bundle.trial.since == cloud.now


async def test_a_bundle_that_nobody_can_take_hinders_the_publisher_until_it_is_removed(cloud: Cloud, caplog):
    cloud.edit(changed("other lags"))
    await cloud.look()
    await cloud.edges_say()
    cloud.now += HOLD_S
    await cloud.store.put(KEY, bytes(LIMIT + 1))
    running = asyncio.create_task(cloud.publisher.run())
    async with asyncio.timeout(10):
        while not [record for record in caplog.records if "are not published yet" in record.message]:
            assert not running.done(), "it ends the trainer"
            await asyncio.sleep(0)
    await cloud.publisher.stop()
    await running
    await cloud.store.delete(KEY)
    assert (await cloud.look()).version == version_of({NAME: changed("other lags")})


async def test_a_change_in_the_folder_meanwhile_is_published_once_the_bundle_is_removed(cloud: Cloud):
    await cloud.store.put(KEY, bytes(LIMIT + 1))
    cloud.edit(changed("other lags"))
    with pytest.raises(TooLarge):
        await cloud.look()
    await cloud.store.delete(KEY)
    assert (await cloud.look()).version == version_of({NAME: changed("other lags")})


async def test_more_files_than_edges_take_are_not_published(cloud: Cloud, caplog):
    before = await cloud.bundle()
    for number in range(FILES):
        (cloud.streams / f"stream-{number}.yaml").write_text("")
    assert await cloud.look() == before
    assert f"found {FILES + 1} files, expected at most {FILES}" in caplog.text


async def test_an_edge_that_never_takes_it_in_is_named_once_and_passed_by_hand(cloud: Cloud, caplog):
    cloud.edit(changed("other lags"))
    await cloud.look()
    (stuck,) = await cloud.edges_say()
    await cloud.edges_say(but=stuck)
    for _ in range(3):
        assert (await cloud.look(after=HOLD_S)).trial is not None
    assert [record.edges for record in caplog.records if "wait for edges" in record.message] == [[stuck]]
    cloud.begin_again("100%")
    bundle = await cloud.look()
    assert (bundle.trial, bundle.version) == (None, version_of({NAME: changed("other lags")}))


async def test_a_fleet_of_one_gets_it_at_once(tmp_path: Path):
    cloud = Cloud(tmp_path)
    await cloud.look()
    cloud.edit(changed("other lags"))
    bundle = await cloud.look()
    assert (bundle.trial, bundle.version) == (None, version_of({NAME: changed("other lags")}))


async def test_an_edge_takes_in_what_its_rank_says(cloud: Cloud):
    cloud.edit(changed("other lags"))
    bundle = await cloud.look()
    assert bundle.trial is not None
    for edge in EDGES:
        meant = bundle.trial.files if rank(edge, bundle.trial.version, {}, {}) < bundle.trial.below else bundle.files
        assert bundle.files_for(edge, {"site": "x"}) == meant


async def test_a_trial_that_is_spoilt_is_refused_whole(cloud: Cloud):
    cloud.edit(changed("other lags"))
    bundle = await cloud.look()
    assert bundle.trial is not None
    spoilt = replace(bundle, trial=replace(bundle.trial, files={NAME: "name: ["}))
    with pytest.raises(RefusedNote, match="found content"):
        read_bundle(sealed(spoilt, SIGNER), TRUST)
