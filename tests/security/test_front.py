"""What leaves the cloud goes through Caddy: HTTPS by its own authority, and nothing by plain HTTP."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from driftline.bus.memory import MemoryBus
from driftline.errors import Conflict, StoreUnavailable, Unavailable
from driftline.fleet.device import Device
from driftline.messages import ALERTS, Alert
from driftline.metrics import Metrics
from driftline.models.signing import Signer, new_key
from driftline.store.door import DoorSettings, DoorStore
from driftline.store.folder import FolderStore
from driftline.store.s3 import S3Settings, S3Store
from driftline.streams.definition import StreamDefinition
from driftline_cli import joining, objects
from driftline_combiner.app import create_app as create_combiner
from driftline_combiner.settings import CombinerSettings
from driftline_inference.app import create_app as create_inference
from driftline_inference.settings import InferenceSettings
from driftline_ingest.app import create_app as create_ingest
from driftline_ingest.settings import IngestSettings
from driftline_trainer.app import create_app as create_trainer
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer
from tests.hearing import hearing
from tests.s3_server import S3Server
from tests.security.caddy import REFUSED, Front, fronted
from tests.serving import served

TOKEN = SecretStr("hush-hush")
HEADER = {"Authorization": f"Bearer {TOKEN.get_secret_value()}"}
PATIENCE_S = 120
STORE, REST = 7443, 8443
NAME = "outdoor-temperature"


class Cloud:
    """A trainer that takes jobs and does not work on them, behind Caddy as compose/cloud.yaml has it."""

    def __init__(self, folder: Path, stream: StreamDefinition) -> None:
        settings = TrainerSettings(store=str(folder), token=TOKEN)
        self.store = FolderStore(folder)
        self.trainer = Trainer(settings, self.store, {stream.name: stream}, Metrics())
        self.app = create_trainer(settings, self.store, streams={stream.name: stream}, trainer=self.trainer)
        self.front: Front

    async def first_job(self) -> tuple[str, str]:
        async with asyncio.timeout(PATIENCE_S):
            async for _ in self.store.watch("jobs/", poll=0.1):
                if self.trainer.jobs():
                    return self.trainer.jobs()[0].stream, self.trainer.jobs()[0].trigger
        raise AssertionError


@pytest.fixture
async def cloud(temperature: StreamDefinition, s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Cloud]:
    found = Cloud(tmp_path / "store", temperature)
    async with served(found.app, working=False) as address:
        behind = {"store:7070": f"127.0.0.1:{s3_server.port}", "trainer:8004": address}
        async with fronted("cloud", tmp_path, behind) as front:
            found.front = front
            yield found


async def test_through_the_front_a_device_joins_and_reaches_the_store_and_believes_no_other_cloud(
    cloud: Cloud, tmp_path: Path
):
    async with cloud.front.client(REST) as client:
        token = (await client.post("/v1/fleet/tokens", json={}, headers=HEADER)).json()["token"]
    url, ca_file = cloud.front.url(REST), cloud.front.ca_file
    with pytest.raises(Unavailable, match="the cloud is not trusted"):
        await joining.join(tmp_path / "edge", joining.Asked(url, token, "attic"))
    outcome = await joining.join(tmp_path / "edge", joining.Asked(url, token, "attic", ca_file=ca_file))
    device = Device(tmp_path / "edge")
    ca_file = device.ca_file
    store = DoorStore(DoorSettings(url, token_file=device.credential_file, ca_file=ca_file))
    key = f"states/{outcome.joined.edge}/a b%2Fc"
    await store.put(key, b"one", if_absent=True)
    with pytest.raises(Conflict):
        await store.put(key, b"two", if_absent=True)
    assert (await store.get(key)).body == b"one"
    assert [listed.key async for listed in store.list(f"states/{outcome.joined.edge}/")] == [key]
    await store.close()
    stranger = DoorStore(DoorSettings(url, token_file=device.credential_file))
    with pytest.raises(StoreUnavailable, match="the cloud is not trusted"):
        await stranger.get(key)
    await stranger.close()
    unset = DoorStore(DoorSettings(url, token_file=device.credential_file), clock=lambda: 0.0)
    with pytest.raises(StoreUnavailable, match="this machine's clock is not set"):
        await unset.get(key)
    await unset.close()
    elsewhere = DoorStore(DoorSettings(cloud.front.url(STORE), token_file=device.credential_file, ca_file=ca_file))
    with pytest.raises(StoreUnavailable, match="is no door of a store"):
        await elsewhere.get(key)
    await elsewhere.close()


async def edge(cloud: Cloud, temperature: StreamDefinition, token: SecretStr | None) -> AsyncExitStack:
    """A combiner with an alert that asks for a model."""
    bus, stack = MemoryBus(), AsyncExitStack()
    settings = CombinerSettings(trainer=cloud.front.url(REST), token=token)
    app = create_combiner(settings, bus, streams={temperature.name: temperature}, on_death=lambda *_: None)
    await stack.enter_async_context(app.router.lifespan_context(app))
    await bus.publish(ALERTS, [Alert(NAME, "R80711", 0, "drift", "blend", "")])
    return stack


async def test_the_courier_reaches_the_trainer_by_https(cloud: Cloud, temperature, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(cloud.front.ca_file))
    async with await edge(cloud, temperature, TOKEN):
        assert await cloud.first_job() == (NAME, "drift")


async def test_the_courier_believes_no_other_trainer(cloud: Cloud, temperature, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with hearing() as heard:
        async with await edge(cloud, temperature, TOKEN):
            await heard.until("CERTIFICATE_VERIFY_FAILED")
    assert cloud.trainer.jobs() == []
    assert "hush" not in "".join(heard.lines)


async def test_plain_http_reaches_nothing(cloud: Cloud):
    for port in (STORE, REST):
        asked = {"stream": NAME, "member": "speed"}
        assert await cloud.front.answer_to_plain_http(port, "/v1/jobs", json=asked, headers=HEADER) in {REFUSED, None}
    assert cloud.trainer.jobs() == []


async def test_through_the_front_a_job_needs_the_token(cloud: Cloud):
    asked = {"stream": NAME, "member": "batch"}
    async with cloud.front.client(REST) as client:
        assert (await client.post("/v1/jobs", json=asked)).status_code == 401
        assert (await client.post("/v1/jobs", json=asked, headers={"Authorization": "Bearer ?"})).status_code == 401
        assert (await client.post("/v1/jobs", json=asked, headers=HEADER)).status_code == 202


@pytest.mark.s3
async def test_the_store_is_reached_by_https_and_believed_by_its_authority_alone(
    cloud: Cloud, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
):
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    await objects.prepare(s3_server.folder, s3_server.port, bucket)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(cloud.front.ca_file))
    store = S3Store(S3Settings(bucket, endpoint=cloud.front.url(STORE)))
    await store.put("windows/a", b"one", if_absent=True)
    with pytest.raises(Conflict):
        await store.put("windows/a", b"two", if_absent=True)
    assert (await store.get("windows/a")).body == b"one"
    await store.close()
    monkeypatch.delenv("AWS_CA_BUNDLE")
    store = S3Store(S3Settings(bucket, endpoint=cloud.front.url(STORE)))
    with pytest.raises(StoreUnavailable, match="the store is not trusted"):
        await store.get("windows/a")
    await store.close()


async def test_the_cloud_centric_front_leads_each_request_to_its_service(temperature: StreamDefinition, tmp_path: Path):
    """One door for all, and without the token nobody changes anything."""
    streams, bus, store = {temperature.name: temperature}, MemoryBus(), FolderStore(tmp_path / "store")
    inferring = InferenceSettings(token=TOKEN, trusted_keys=Signer(new_key()).public, cache=None)
    training = TrainerSettings(store=str(store.root), token=TOKEN, data_dir=tmp_path)
    apps = {
        "ingest:8001": create_ingest(IngestSettings(token=TOKEN), bus, store, streams=streams),
        "inference:8002": create_inference(inferring, bus, store, streams=streams),
        "combiner:8003": create_combiner(CombinerSettings(token=TOKEN), bus, streams=streams),
        "trainer:8004": create_trainer(training, store, streams=streams),
    }
    row: dict[str, Any] = dict.fromkeys(temperature.columns, 1.0)
    row |= {temperature.time.column: "2026-01-01T00:00:00Z", temperature.key: "R80711"}
    async with AsyncExitStack() as stack:
        behind = {name: await stack.enter_async_context(served(app)) for name, app in apps.items()}
        front = await stack.enter_async_context(fronted("cloud-centric", tmp_path, behind))
        client = await stack.enter_async_context(front.client(REST))
        posts = {f"/v1/records?stream={NAME}": row, f"/v1/models/{NAME}.batch/rollback": {}, "/v1/jobs": {}}
        for path, body in posts.items():
            assert (await client.post(path, json=body)).status_code == 401, path
        taken = await client.post(f"/v1/records?stream={NAME}", json=row, headers=HEADER)
        assert (taken.status_code, taken.json()["accepted"]) == (202, 1)
        # Whatever writes to InfluxDB is a sender of records, too.
        written = {path: await client.post(path, content=b"") for path in (f"/api/v2/write?bucket={NAME}", "/write")}
        assert {path: answer.status_code for path, answer in written.items()} == dict.fromkeys(written, 401)
        influx = {"Authorization": f"Token {TOKEN.get_secret_value()}"}
        assert (await client.post(f"/api/v2/write?bucket={NAME}", content=b"", headers=influx)).status_code == 204
        assert (await client.get("/v1/models")).json()["models"]
        assert (await client.get("/v1/jobs")).json() == []
        assert "<title>" in (await client.get("/")).text
        plain = await front.answer_to_plain_http(REST, f"/v1/records?stream={NAME}", json=row, headers=HEADER)
        assert plain in {REFUSED, None}
