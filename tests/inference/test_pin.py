"""A pinned version stays, wherever the store's pointer goes; and what the edge says of itself is true."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import stamina
from fastapi import FastAPI

from driftline.models import manifest as manifests
from driftline.models.manifest import Usage, decode
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline_inference.registry.cache import Cache
from driftline_trainer.fit import Trained
from tests.inference.conftest import TRUST, app_of, new_models, put
from tests.models import Models

PLACE = "/v1/models/outdoor-temperature.batch"
PATIENCE_S = 20
HEADERS = {"Authorization": "Bearer hush"}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(FolderStore(tmp_path / "cache"))


@pytest.fixture
async def names(store, stream: StreamDefinition, versions: list[Trained]) -> list[str]:
    """Three versions; the store's pointer names the last."""
    return [await put(store, stream, versions[n]) for n in (0, 1, 0)]


@pytest.fixture
async def app(store, stream: StreamDefinition, cache: Cache, names: list[str]) -> FastAPI:
    return app_of(store, stream, cache.folder.root)


@pytest.fixture
async def models(app: FastAPI) -> Models:
    models = Models.of(app)
    await models.reconcile()
    return models


@pytest.fixture
async def client(app: FastAPI, models: Models) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge", headers=HEADERS) as client:
        yield client


async def test_a_pinned_version_serves_and_stays(client, store, stream, versions, models: Models, names: list[str]):
    for _ in range(2):
        answer = await client.post(f"{PLACE}/pin", json={"version": names[0]})
        assert (answer.status_code, answer.json()["version"], answer.json()["pinned"]) == (200, names[0], True)
    assert answer.json()["swaps"] == 2, "sent twice, it is done once"
    newest = await put(store, stream, versions[1])
    await models.reconcile()
    status = (await client.get(PLACE)).json()
    assert (status["version"], status["candidate"], status["lag"]["versions"]) == (names[0], newest, 3)
    assert status["lag"]["seconds"] > 0
    assert models.registry.shadows() == {}, "nobody takes a pinned version's place"


async def test_unpinned_it_follows_the_store_again(client, models: Models, names: list[str]):
    await client.post(f"{PLACE}/pin", json={"version": names[0]})
    answer = await client.post(f"{PLACE}/pin", json={"version": None})
    assert (answer.status_code, answer.json()["pinned"]) == (200, False)
    await models.reconcile()
    status = (await client.get(PLACE)).json()
    assert (status["version"], status["candidate"]) == (names[2], None)
    assert status["lag"] == {"versions": 0, "seconds": 0.0}
    assert [swap["version"] for swap in status["latest"]] == [names[2], names[0], names[2]]
    assert [swap["why"] for swap in status["latest"]][1] == "pinned by hand"


async def test_a_restart_keeps_the_pin(client, store, stream, cache: Cache, names: list[str]):
    await client.post(f"{PLACE}/pin", json={"version": names[1]})
    restarted = new_models(store, stream, cache=cache)
    await restarted.reconcile()
    found = restarted.registry.state(stream.name, "batch")
    assert (found.version, found.pinned) == (names[1], True)


@pytest.mark.parametrize(
    ("version", "status"), [("v000099-000000000000", 404), ("../../etc", 404), (7, 422), ("", 404)]
)
async def test_what_is_no_version_is_not_pinned(client, models: Models, names: list[str], version, status: int):
    answer = await client.post(f"{PLACE}/pin", json={"version": version})
    assert answer.status_code == status
    found = (await client.get(PLACE)).json()
    assert (found["version"], found["pinned"]) == (names[2], False)


async def test_a_version_that_may_not_serve_is_not_pinned(client, store, stream, names: list[str]):
    await store.put(manifests.model_key(stream.name, "batch", names[0]), b"rot")
    answer = await client.post(f"{PLACE}/pin", json={"version": names[0]})
    assert (answer.status_code, "found size 3" in answer.json()["detail"]) == (422, True)
    assert (await client.get(PLACE)).json()["version"] == names[2]


async def test_who_has_no_token_pins_nothing(client, names: list[str]):
    answer = await client.post(f"{PLACE}/pin", json={"version": names[0]}, headers={"Authorization": ""})
    assert answer.status_code == 401


async def test_a_model_that_is_not_there_is_not_found(client):
    assert (await client.get("/v1/models/outdoor-temperature.nobody")).status_code == 404
    assert (await client.post("/v1/models/a.batch/pin", json={"version": None})).status_code == 404


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.01, wait_max=0.1)
async def identified(client: httpx.AsyncClient) -> dict[str, str]:
    """The edge, once its broker has told it its id."""
    edge = (await client.get("/v1/models")).json()["edge"]
    assert edge["id"] is not None
    return edge


async def test_the_store_is_told_what_this_edge_runs(app: FastAPI, client, store, stream, models, names: list[str]):
    async with app.router.lifespan_context(app):
        edge = await identified(client)
        await client.post(f"{PLACE}/pin", json={"version": names[0]})
    noted = await store.get(manifests.usage_key(stream.name, "batch", edge["id"]))
    usage = decode(noted.body, Usage, "usage")
    assert (usage.version, usage.former, usage.pinned) == (names[0], names[2], True)
    assert (usage.edge, usage.name) == (edge["id"], edge["name"])
    assert edge["name"] == socket.gethostname()


async def test_it_is_told_once_the_edge_has_an_id(store, stream, names: list[str]):
    ids = list[str]()
    models = Models.on(store, stream, TRUST, edge_id=lambda: ids[0] if ids else None)
    await models.reconcile()
    assert [listed.key async for listed in store.list(manifests.usage_prefix(stream.name, "batch"))] == []
    ids.append("4f2a91")
    await models.reconcile()
    noted = await store.get(manifests.usage_key(stream.name, "batch", "4f2a91"))
    assert decode(noted.body, Usage, "usage").edge == "4f2a91"
