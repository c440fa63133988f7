"""A restart while the store is away: the last good version serves, and nothing that has rotted on the disk does."""

from pathlib import Path

import pytest

from driftline.errors import StoreUnavailable
from driftline.models import manifest as manifests
from driftline.store.folder import FolderStore
from driftline.store.s3 import S3Settings, S3Store
from driftline.streams.definition import StreamDefinition
from driftline_cli.broker import free_port
from driftline_inference.registry.cache import Cache
from driftline_trainer.fit import Trained
from tests.inference.conftest import new_models, put
from tests.models import Models


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(FolderStore(tmp_path / "cache"))


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """An object store that nobody answers for."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    return S3Store(S3Settings("driftline", endpoint=f"http://127.0.0.1:{free_port()}", timeout=0.2))


@pytest.fixture
async def good(store, stream: StreamDefinition, versions: list[Trained], cache: Cache) -> str:
    """A version that served before the restart."""
    version = await put(store, stream, versions[0])
    await new_models(store, stream, cache=cache).reconcile()
    return version


async def restarted(away: S3Store, stream: StreamDefinition, cache: Cache) -> Models:
    models = new_models(away, stream, cache=cache)
    with pytest.raises(StoreUnavailable):
        await models.reconcile()
    await away.close()
    return models


async def test_after_a_restart_without_a_store_the_last_good_version_serves(away, stream, cache, good: str):
    models = await restarted(away, stream, cache)
    assert models.serving()[stream.name, "batch"].version == good


async def test_the_successor_is_cached_and_only_its_former_version_is_kept_beside_it(
    store, away, stream, versions, cache, good: str
):
    models = new_models(store, stream, cache=cache)
    await models.reconcile()
    names = [good]
    for trained in (versions[1], versions[0]):
        names.append(await put(store, stream, trained))
        await models.reconcile()
    folder = manifests.folder(stream.name, "batch")
    kept = {listed.key.split("/")[3] async for listed in cache.folder.list(f"{folder}/v")}
    assert kept == set(names[1:])
    assert (await restarted(away, stream, cache)).serving()[stream.name, "batch"].version == names[2]


@pytest.mark.parametrize("what", ["truncated", "flipped", "manifest", "missing"])
async def test_what_has_rotted_on_the_disk_never_serves(away, stream, cache, good: str, what: str):
    model = manifests.model_key(stream.name, "batch", good)
    body = (await cache.folder.get(model)).body
    if what == "truncated":
        await cache.folder.put(model, body[: len(body) // 2])
    elif what == "flipped":
        await cache.folder.put(model, body[:-9] + bytes([body[-9] ^ 16]) + body[-8:])
    elif what == "manifest":
        await cache.folder.put(manifests.manifest_key(stream.name, "batch", good), b"{")
    else:
        await cache.folder.delete(model)
    assert (await restarted(away, stream, cache)).serving() == {}


async def test_where_the_newest_has_rotted_the_one_before_serves(store, away, stream, versions, cache, good: str):
    models = new_models(store, stream, cache=cache)
    await models.reconcile()
    newest = await put(store, stream, versions[1])
    await models.reconcile()
    await cache.folder.put(manifests.model_key(stream.name, "batch", newest), b"rot")
    assert (await restarted(away, stream, cache)).serving()[stream.name, "batch"].version == good


async def test_without_a_word_of_what_served_the_newest_whole_version_does(store, away, stream, versions, cache, good):
    models = new_models(store, stream, cache=cache)
    await models.reconcile()
    newest = await put(store, stream, versions[1])
    await models.reconcile()
    await cache.folder.put(manifests.pointer_key(stream.name, "batch"), b"")
    assert (await restarted(away, stream, cache)).serving()[stream.name, "batch"].version == newest


async def test_what_has_rotted_is_fetched_anew_when_the_store_is_back(store, stream, cache, good: str):
    await cache.folder.put(manifests.model_key(stream.name, "batch", good), b"rot")
    models = new_models(store, stream, cache=cache)
    await models.reconcile()
    assert models.serving()[stream.name, "batch"].version == good
    assert models.registry.state(stream.name, "batch").refused == {}
