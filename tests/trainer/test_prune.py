"""What is pruned, and what never is."""

from dataclasses import replace
from pathlib import Path

import pytest

from driftline.models import manifest as manifests
from driftline.models.manifest import Usage
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline.versions.releases import current
from driftline_trainer.fit import Task, Trained
from driftline_trainer.prune import prune
from driftline_trainer.publish import publish
from tests.shared import Shared
from tests.trained import trained_once


@pytest.fixture(scope="module")
def made(shared: Shared, quick: StreamDefinition, rows: Rows) -> Trained:
    return trained_once(shared, Task(quick, rows.take(slice(0, 2000))))


@pytest.fixture
async def store(tmp_path: Path, quick: StreamDefinition, made: Trained) -> FolderStore:
    """With eight versions."""
    store = FolderStore(tmp_path)
    for number in range(8):
        changed = replace(made, model=made.model + bytes([number]))
        before = await current(store, quick.name, "batch")
        parent = before.version if before else None
        await publish(
            store, quick, "batch", changed, signer=None, before=before, parent=parent, windows={}, now=float(number)
        )
    return store


async def versions(store: FolderStore, stream: str) -> list[int]:
    prefix = f"{manifests.folder(stream, 'batch')}/v"
    return sorted({manifests.version_number(listed.key.split("/")[3]) async for listed in store.list(prefix)})


async def name_of(store: FolderStore, stream: str, number: int) -> str:
    prefix = f"{manifests.folder(stream, 'batch')}/v{number:06d}"
    [first, *_] = [listed.key.split("/")[3] async for listed in store.list(prefix)]
    return first


async def pruned(store: FolderStore, stream: str, keep: int) -> list[int]:
    newest = await current(store, stream, "batch")
    assert newest is not None
    return [manifests.version_number(version) for version in await prune(store, stream, "batch", newest, keep=keep)]


async def test_the_newest_stay_and_nothing_of_the_others(store, quick):
    assert await pruned(store, quick.name, 3) == [1, 2, 3, 4, 5]
    assert await versions(store, quick.name) == [6, 7, 8]
    assert await pruned(store, quick.name, 3) == []


async def test_what_an_edge_runs_would_go_back_to_or_has_pinned_stays(store, quick):
    two, four = [await name_of(store, quick.name, number) for number in (2, 4)]
    usage = Usage("pi-7", two, four, pinned=True, since=0.0)
    await store.put(manifests.usage_key(quick.name, "batch", "pi-7"), manifests.encode(usage))
    assert await pruned(store, quick.name, 2) == [1, 3, 5, 6]
    assert await versions(store, quick.name) == [2, 4, 7, 8]


async def test_a_note_under_a_name_counts_until_its_edge_has_written_under_its_id(store, quick):
    one, two, four = [await name_of(store, quick.name, number) for number in (1, 2, 4)]
    older = Usage("pi-7", one, two, pinned=False, since=5.0)
    await store.put(manifests.usage_key(quick.name, "batch", "pi-7"), manifests.encode(older))
    for name, since in (("another", 6.0), ("pi-7", 4.0)):
        note = Usage("4f2a91", four, None, pinned=False, since=since, name=name)
        await store.put(manifests.usage_key(quick.name, "batch", "4f2a91"), manifests.encode(note))
        assert not {1, 2, 4} & set(await pruned(store, quick.name, 2))
    note = Usage("4f2a91", four, None, pinned=False, since=6.0, name="pi-7")
    await store.put(manifests.usage_key(quick.name, "batch", "4f2a91"), manifests.encode(note))
    assert await pruned(store, quick.name, 2) == [1, 2]


async def test_two_edges_of_one_name_both_keep_what_they_run(store, quick):
    for number, edge in ((2, "4f2a91"), (4, "77b0c3")):
        note = Usage(edge, await name_of(store, quick.name, number), None, pinned=False, since=0.0, name="edge")
        await store.put(manifests.usage_key(quick.name, "batch", edge), manifests.encode(note))
    assert await pruned(store, quick.name, 2) == [1, 3, 5, 6]


async def test_the_current_version_and_its_parent_stay_however_old(store, quick):
    three = await name_of(store, quick.name, 3)
    pointer = manifests.encode(manifests.Pointer(three))
    await store.put(manifests.pointer_key(quick.name, "batch"), pointer)
    assert await pruned(store, quick.name, 2) == [1, 4, 5, 6]
    assert await versions(store, quick.name) == [2, 3, 7, 8]


async def test_a_note_that_is_not_readable_keeps_nobody_from_pruning(store, quick):
    await store.put(manifests.usage_key(quick.name, "batch", "pi-8"), b"{")
    assert await pruned(store, quick.name, 7) == [1]


async def test_a_name_is_not_used_again_after_it_was_pruned(store, quick, made: Trained):
    await pruned(store, quick.name, 2)
    before = await current(store, quick.name, "batch")
    again = await publish(store, quick, "batch", made, signer=None, before=before, parent=None, windows={}, now=0.0)
    assert manifests.version_number(again.version) == 9


async def test_folders_that_are_no_versions_take_no_versions_place(store, quick):
    for number in range(20):
        await store.put(f"{manifests.folder(quick.name, 'batch')}/vz{number}/manifest.json", b"x")
    assert await pruned(store, quick.name, 3) == [1, 2, 3, 4, 5]
