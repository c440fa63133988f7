"""The fleet's REST door and its metrics, by the trainer's own app."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import stamina
from pydantic import SecretStr

from driftline.fleet.names import heartbeat_key
from driftline.fleet.notes import sealed
from driftline.models.signing import new_key
from driftline.store.folder import FolderStore
from driftline_trainer.app import create_app
from driftline_trainer.settings import TrainerSettings
from tests.fleet.simulated import NEW, NOW, simulated
from tests.serving import served

EDGES = 60


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    store = FolderStore(tmp_path / "store")
    for n in range(EDGES):
        heartbeat = simulated(n, at=NOW if n >= 3 else NOW - 100 * n)
        await store.put(heartbeat_key(heartbeat.edge), sealed(heartbeat, None))
    settings = TrainerSettings(signing_key=SecretStr(new_key()), data_dir=tmp_path, fleet_metrics=7)
    app = create_app(settings, store, streams={}, clock=lambda: NOW + 100)
    async with served(app) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=60) as asking:
        await all_answer(address, EDGES)
        yield asking


@stamina.retry(on=AssertionError, attempts=None, timeout=60, wait_initial=0.02, wait_max=0.2)
async def all_answer(address: str, edges: int) -> None:
    """Returns when the trainer has read as many heartbeats."""
    async with httpx.AsyncClient(base_url=f"http://{address}", timeout=60) as asking:
        assert (await asking.get("/v1/fleet")).json()["summary"]["edges"] == edges


async def test_all_edges_in_short(client: httpx.AsyncClient):
    body = (await client.get("/v1/fleet")).json()
    summary = body["summary"]
    assert {state: summary[state] for state in ("live", "late", "silent")} == {"live": 58, "late": 2, "silent": 0}
    assert [edge["id"] for edge in body["edges"]] == [f"edge-{n:04}" for n in range(EDGES)]
    third = body["edges"][3]
    assert third["problems"] == [{"kind": "waits", "detail": "store: the store does not answer", "since": None}]
    assert third["models"]["outdoor-temperature.batch"]["version"] == NEW
    assert third["streams"]["outdoor-temperature"]["coverage"] == pytest.approx(0.895)
    assert body["edges"][1]["since"] == NOW - 100


async def test_edges_are_chosen_by_label_and_state(client: httpx.AsyncClient):
    async def ids(**query: str | list[str]) -> list[str]:
        return [edge["id"] for edge in (await client.get("/v1/fleet", params=query)).json()["edges"]]

    assert await ids(label="site=site-01") == [f"edge-{n:04}" for n in range(20, 40)]
    assert await ids(label=["site=site-01", "ring=canary"]) == ["edge-0020", "edge-0030"]
    assert await ids(state="late") == ["edge-0001", "edge-0002"]
    assert await ids(state=["late", "silent"], label="site=site-01") == []
    assert (await client.get("/v1/fleet", params={"label": "site"})).status_code == 422
    assert (await client.get("/v1/fleet", params={"state": "odd"})).status_code == 422


async def test_a_reader_who_comes_again_gets_what_is_new(client: httpx.AsyncClient):
    first = (await client.get("/v1/fleet")).json()
    second = (await client.get("/v1/fleet", params={"after": first["revision"]})).json()
    assert (first["whole"], second["whole"], second["edges"]) == (True, False, [])
    assert second["summary"] == first["summary"]
    other = (await client.get("/v1/fleet", params={"after": first["revision"] + 10**9})).json()
    assert len(other["edges"]) == EDGES


async def test_everything_about_one_edge(client: httpx.AsyncClient):
    body = (await client.get("/v1/fleet/edges/edge-0007")).json()
    assert body["heartbeat"]["streams"]["outdoor-temperature"]["keys"] == 4
    assert body["boots"] == ["boot-7"]
    assert len(body["history"]) == 1
    assert (await client.get("/v1/fleet/edges/nobody")).status_code == 404


async def test_one_version_across_edges(client: httpx.AsyncClient):
    path = "/v1/fleet/versions/outdoor-temperature.batch"
    whole = (await client.get(f"{path}/{NEW}")).json()
    assert whole["sentence"] == "v000042: 60 edges, 18,000 truths, better on 58, worse on 2"
    assert [row["id"] for row in whole["by_edge"] if row["verdict"] == "worse"] == ["edge-0007", "edge-0057"]
    assert (await client.get(f"{path}/v000042")).json() == whole
    assert [row["version"] for row in (await client.get(path)).json()] == [NEW]
    assert (await client.get(f"{path}/v000001")).status_code == 404
    assert (await client.get("/v1/fleet/versions/attic.batch")).status_code == 404
    assert (await client.get("/v1/fleet/versions/attic.batch/v000042")).status_code == 404


async def test_what_prometheus_reads(client: httpx.AsyncClient):
    text = (await client.get("/metrics")).text
    assert 'driftline_fleet_edges{state="late"} 2.0' in text
    assert "driftline_fleet_cloned_edges 0.0" in text
    assert 'driftline_fleet_version_worse_edges{member="batch",stream="outdoor-temperature"} 2.0' in text
    assert 'driftline_fleet_version_compared_edges{member="batch",stream="outdoor-temperature"} 60.0' in text
    assert text.count("driftline_fleet_edge_last_heard_timestamp_seconds{") == 7
    assert 'driftline_fleet_heartbeats_refused_total{reason="signature"} 0.0' in text
