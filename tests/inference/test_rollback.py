"""Back to the version before: at once, once, and for good on this edge; on all others by the trainer's word alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from driftline.fleet.notes import sealed
from driftline.fleet.quarantine import quarantine
from driftline.models import manifest as manifests
from driftline.models.manifest import Quarantine
from driftline.models.signing import Trust
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline_inference.registry.cache import Cache
from driftline_trainer.fit import Trained
from tests.inference.conftest import SIGNER, STRANGER, app_of, new_models, put
from tests.models import Models

PLACE = "/v1/models/outdoor-temperature.batch/rollback"
HEADERS = {"Authorization": "Bearer hush"}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(FolderStore(tmp_path / "cache"))


class Edge:
    """Models with two versions behind them, and the door to steer them by."""

    def __init__(self, models: Models, names: list[str], client: httpx.AsyncClient) -> None:
        self.models = models
        self.good, self.bad = names
        self._client = client

    async def roll_back(self, version: str, headers: dict[str, str] = HEADERS) -> httpx.Response:
        asked = {"version": version, "reason": "worse since noon"}
        return await self._client.post(PLACE, json=asked, headers=headers)


@pytest.fixture
async def edge(store, stream: StreamDefinition, versions: list[Trained], cache: Cache) -> AsyncIterator[Edge]:
    app = app_of(store, stream, cache.folder.root)
    models = Models.of(app)
    names = []
    for trained in versions:
        names.append(await put(store, stream, trained))
        await models.reconcile()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as client:
        yield Edge(models, names, client)


def serving(models: Models, stream: StreamDefinition) -> str:
    return models.serving()[stream.name, "batch"].version


async def test_it_goes_back_at_once_and_stays_there(edge: Edge, stream: StreamDefinition):
    answer = await edge.roll_back(edge.bad)
    assert (answer.status_code, answer.json()["version"]) == (200, edge.good)
    assert answer.json()["refused"] == {edge.bad: "quarantine: worse since noon"}
    await edge.models.reconcile()
    assert serving(edge.models, stream) == edge.good


async def test_sent_twice_it_is_done_once(edge: Edge, stream: StreamDefinition):
    answers = [await edge.roll_back(edge.bad) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert serving(edge.models, stream) == edge.good
    assert edge.models.registry.state(stream.name, "batch").swaps == 3


async def test_another_edge_serves_it_on(edge: Edge, store, stream: StreamDefinition):
    await edge.roll_back(edge.bad)
    other = new_models(store, stream)
    await other.reconcile()
    assert serving(other, stream) == edge.bad
    assert [listed.key async for listed in store.list(manifests.quarantine_prefix(stream.name, "batch"))] == []


async def test_by_the_trainers_signed_word_no_edge_serves_it(edge: Edge, store, stream: StreamDefinition):
    await quarantine(store, Quarantine(edge.bad, "worse on 12 edges", 0.0, stream.name, "batch"), SIGNER)
    other = new_models(store, stream)
    await other.reconcile()
    assert serving(other, stream) == edge.good, "a new edge begins with the newest that may serve"
    assert other.registry.state(stream.name, "batch").refused == {edge.bad: "quarantine: worse on 12 edges"}


async def by_a_stranger(store, stream: StreamDefinition, version: str) -> None:
    await quarantine(store, Quarantine(version, "lies", 0.0, stream.name, "batch"), STRANGER)


async def by_nobody(store, stream: StreamDefinition, version: str) -> None:
    await quarantine(store, Quarantine(version, "lies", 0.0, stream.name, "batch"), None)


async def of_another_member(store, stream: StreamDefinition, version: str) -> None:
    note = sealed(Quarantine(version, "of speed", 0.0, stream.name, "speed"), SIGNER)
    await store.put(manifests.quarantine_key(stream.name, "batch", version), note)


async def as_a_former_release_wrote_it(store, stream: StreamDefinition, version: str) -> None:
    mark = manifests.encode(Quarantine(version, "worse since noon", 0.0))
    await store.put(manifests.quarantine_key(stream.name, "batch", version), mark)


MARKS = [by_a_stranger, by_nobody, of_another_member, as_a_former_release_wrote_it]


@pytest.mark.parametrize("mark", MARKS)
async def test_nobody_elses_word_keeps_a_version_from_an_edge(edge: Edge, store, stream: StreamDefinition, mark):
    await mark(store, stream, edge.bad)
    other = new_models(store, stream)
    await other.reconcile()
    assert serving(other, stream) == edge.bad


@pytest.mark.parametrize("mark", MARKS)
async def test_where_unsigned_models_serve_everybodys_word_counts(edge: Edge, store, stream: StreamDefinition, mark):
    await mark(store, stream, edge.bad)
    other = new_models(store, stream, Trust([SIGNER.public], unsigned=True))
    await other.reconcile()
    assert serving(other, stream) == edge.good


async def test_a_restart_does_not_bring_it_back(edge: Edge, store, stream: StreamDefinition, cache: Cache):
    await edge.roll_back(edge.bad)
    restarted = new_models(store, stream, cache=cache)
    for _ in range(2):
        await restarted.reconcile()
        assert serving(restarted, stream) == edge.good
    assert restarted.registry.state(stream.name, "batch").rolled_back == {edge.bad: "worse since noon"}


async def test_an_edge_whose_disk_was_wiped_tries_it_again(edge: Edge, store, stream: StreamDefinition, tmp_path: Path):
    await edge.roll_back(edge.bad)
    wiped = new_models(store, stream, cache=Cache(FolderStore(tmp_path / "new")))
    await wiped.reconcile()
    assert serving(wiped, stream) == edge.bad


async def test_a_mark_that_has_rotted_still_keeps_its_version_out(edge: Edge, store, stream, cache: Cache):
    await edge.roll_back(edge.bad)
    await cache.folder.put(manifests.quarantine_key(stream.name, "batch", edge.bad), b"{")
    restarted = new_models(store, stream, cache=cache)
    await restarted.reconcile()
    assert serving(restarted, stream) == edge.good


async def test_the_next_version_serves(edge: Edge, store, stream: StreamDefinition, versions: list[Trained]):
    await edge.roll_back(edge.bad)
    newest = await put(store, stream, versions[0])
    await edge.models.reconcile()
    assert serving(edge.models, stream) == newest


async def test_a_version_that_does_not_serve_is_not_left(edge: Edge, stream: StreamDefinition):
    answer = await edge.roll_back("v000099-000000000000")
    assert (answer.status_code, edge.bad in answer.json()["detail"]) == (422, True)
    assert serving(edge.models, stream) == edge.bad


async def test_without_a_former_version_there_is_nothing_to_go_back_to(edge: Edge, stream: StreamDefinition):
    await edge.roll_back(edge.bad)
    answer = await edge.roll_back(edge.good)
    assert (answer.status_code, "no former version" in answer.json()["detail"]) == (409, True)
    assert serving(edge.models, stream) == edge.good


async def test_after_a_restart_the_former_version_is_still_known(edge: Edge, store, stream, cache: Cache):
    restarted = new_models(store, stream, cache=cache)
    await restarted.reconcile()
    assert restarted.registry.state(stream.name, "batch").former.version == edge.good


async def test_who_has_no_token_steers_nothing(edge: Edge, stream: StreamDefinition):
    assert (await edge.roll_back(edge.bad, headers={})).status_code == 401
    assert serving(edge.models, stream) == edge.bad


async def test_what_the_comparison_leaves_is_left_at_once_and_marked_by_the_next_look(edge: Edge, cache, stream):
    edge.models.registry.roll_back(stream.name, "batch", edge.bad, "worse than the one before")
    assert serving(edge.models, stream) == edge.good
    assert edge.models.registry.shadows() == {}, "who was left forecasts no longer, not even in shadow"
    await edge.models.reconcile()
    written = await cache.folder.get(manifests.quarantine_key(stream.name, "batch", edge.bad))
    assert b"worse than the one before" in written.body
    assert serving(edge.models, stream) == edge.good
    assert edge.models.registry.state(stream.name, "batch").rolled_back == {edge.bad: "worse than the one before"}
