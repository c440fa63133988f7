"""An edge that has joined asks the cloud for the trainings that its alerts call for, with its own credential."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from driftline.errors import Unavailable
from driftline.models.signing import Trust
from driftline.streams.definition import StreamDefinition
from driftline_combiner.retrain_requests import RetrainRequest, TrainerSink, open_trainer
from driftline_combiner.settings import CombinerSettings
from driftline_trainer.fleet_door import retrain
from driftline_trainer.fleet_door.edges import Edges
from driftline_trainer.fleet_door.retrain import Askers
from tests.fleet.cloud import TOKEN, Cloud


@pytest.fixture
async def cloud(temperature: StreamDefinition, tmp_path: Path) -> AsyncIterator[Cloud]:
    async with Cloud.opened(tmp_path, temperature) as opened_cloud:
        yield opened_cloud


async def test_the_combiner_of_a_joined_edge_asks_with_the_credential_of_the_moment(
    cloud: Cloud, temperature: StreamDefinition, tmp_path: Path
):
    first, second, file = await cloud.joined(), await cloud.joined(), tmp_path / "credential"
    settings = CombinerSettings(store=cloud.url, store_token_file=file, trainer=cloud.url, token=SecretStr("doors"))
    client = open_trainer(cloud.url, settings.trainer_token, ssl.create_default_context())
    for device, trigger in ((first, "drift"), (second, "negative-skill")):
        file.write_text(device.shown)
        assert settings.trainer_token() == device.shown
        await TrainerSink(client)([RetrainRequest(temperature.name, trigger)])
    await client.aclose()
    async with cloud.client() as reader:
        jobs = (await reader.get("/v1/jobs")).json()
    assert [(job["stream"], job["member"], job["trigger"]) for job in jobs] == [(temperature.name, "speed", "drift")]


def test_a_credential_goes_to_the_trainer_of_its_fleet_alone(tmp_path: Path):
    (tmp_path / "credential").write_text("edge1.secret")
    settings = CombinerSettings(
        store="https://cloud.example.org",
        store_token_file=tmp_path / "credential",
        trainer="https://other.example.org",
        token=SecretStr("doors"),
    )
    assert settings.trainer_token() == "doors"


@pytest.mark.parametrize(
    "asked",
    [
        {"trigger": "demand"},
        {},
        {"member": "batch", "trigger": "drift"},
        {"trigger": "drift", "history": "history/a.parquet"},
    ],
    ids=["demand", "demand by default", "batch", "history"],
)
async def test_what_alerts_do_not_call_for_it_may_not_ask_for(
    cloud: Cloud, temperature: StreamDefinition, asked: dict[str, str]
):
    device = await cloud.joined()
    async with cloud.client(device.shown) as client:
        answer = await client.post("/v1/jobs", json={"stream": temperature.name, "member": "speed", **asked})
        assert (answer.status_code, "on drift and negative-skill alone" in answer.json()["detail"]) == (403, True)
        assert (await client.get("/v1/jobs")).json() == []


async def test_a_revoked_device_asks_in_vain(cloud: Cloud, temperature: StreamDefinition):
    device, asked = await cloud.joined(), {"stream": temperature.name, "member": "speed", "trigger": "drift"}
    async with cloud.client(TOKEN) as operator:
        await operator.post(f"/v1/fleet/edges/{device.edge}/revoke")
    for shown in (device.shown, f"{device.edge}.wrong", "nobody1.secret"):
        async with cloud.client(shown) as client:
            assert (await client.post("/v1/jobs", json=asked)).status_code == 401


async def test_where_nobody_needs_a_token_a_device_still_may_no_more_than_a_device(
    temperature: StreamDefinition, tmp_path: Path
):
    async with Cloud.opened(tmp_path, temperature, token=None) as cloud:
        device, asked = await cloud.joined(), {"stream": temperature.name, "member": "speed"}
        async with cloud.client(device.shown) as client:
            assert (await client.post("/v1/jobs", json=asked)).status_code == 403


async def test_one_edge_asks_so_often_and_leaves_the_others_their_share(cloud: Cloud):
    now = [0.0]
    askers = Askers(Edges(cloud.store, None, Trust([], unsigned=True)), None, ticks=lambda: now[0])
    for _ in range(retrain.AT_ONCE):
        askers.check("a1", "speed", None, "drift")
    with pytest.raises(Unavailable, match="too many requests of edge a1"):
        askers.check("a1", "speed", None, "drift")
    askers.check("a2", "speed", None, "drift")
    now[0] = 3600 / 60 + 1e-6
    askers.check("a1", "speed", None, "drift")
    with pytest.raises(Unavailable):
        askers.check("a1", "speed", None, "drift")


async def test_the_trainer_says_in_which_header_a_token_is_expected(cloud: Cloud):
    async with httpx.AsyncClient(base_url=cloud.url, timeout=60) as client:
        answer = await client.post("/v1/jobs", json={"stream": "a", "member": "speed"})
    assert (answer.status_code, "Authorization: Bearer TOKEN" in answer.json()["detail"]) == (401, True)
