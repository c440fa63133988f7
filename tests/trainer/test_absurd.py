"""Jobs, claims and pointers in the store that no trainer wrote."""

from pathlib import Path

import msgspec
import pytest

from driftline import manifest as manifests
from driftline.errors import RefusedModel
from driftline.folder import FolderStore
from driftline.releases import current
from driftline_trainer.claims import Claims
from driftline_trainer.jobs import JobBook, JobState

LARGE = 20_000_000


async def nobody(_: str) -> bool:
    return False


async def test_jobs_that_are_none_of_ours_blind_nobody(tmp_path: Path, caplog):
    store = FolderStore(tmp_path)
    other = JobBook(store, "other", 3)
    job = JobState(other.new_id(1.0), "a", "batch", None, "queued", 1.0, holder="other")
    await other.accept(job)
    for n in range(5):
        await store.put(f"jobs/zzz{n}.json", b"{}")
        await store.put(f"jobs/{n:016d}-{'f' * 8}.json", b"x" * LARGE)
    impostor = msgspec.structs.replace(job, id="another")
    await store.put(f"jobs/{other.new_id(0.5)}.json", msgspec.json.encode(impostor))
    book = JobBook(store, "one", 3)
    for _ in range(4):
        await book.look(nobody)
    assert [each.id for each in book.all()] == [job.id]
    said = [record for record in caplog.records if "found no job" in record.message]
    assert len(said) == len({record.key for record in said}) == 6


async def test_a_claim_of_absurd_size_is_replaced(tmp_path: Path):
    store = FolderStore(tmp_path)
    await store.put("claims/a/speed.json", b"x" * LARGE)
    claims = Claims(store, "one", lambda: 0.0, 60.0)
    await claims.take("a", "speed", {"k": "w"}, again=False)
    assert (await store.get("claims/a/speed.json")).body.startswith(b'{"holder":"one"')


async def test_a_sign_of_life_of_absurd_size_or_name_is_none(tmp_path: Path):
    store = FolderStore(tmp_path)
    await store.put("trainers/other.json", b"x" * LARGE)
    claims = Claims(store, "one", lambda: 0.0, 60.0)
    assert not await claims.alive("other")
    assert not await claims.alive("x" * LARGE)


@pytest.mark.parametrize(
    "pointer", [b"x" * LARGE, b'{"version": "%s"}' % (b"v" * 3000), b'{"version": "../../secret"}']
)
async def test_an_absurd_pointer_is_refused_in_a_sentence(tmp_path: Path, pointer: bytes):
    store = FolderStore(tmp_path)
    await store.put(manifests.pointer_key("a", "speed"), pointer)
    with pytest.raises(RefusedModel, match="pointer: ") as error:
        await current(store, "a", "speed")
    assert len(str(error.value)) < 300
