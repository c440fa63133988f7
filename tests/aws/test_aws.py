"""The CloudFormation templates, deployed on a local emulator, and the services at work on what they made."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import stamina
from fastapi import FastAPI
from pydantic import SecretStr

from driftline.bus.memory import MemoryBus
from driftline.models.signing import Signer, new_key
from driftline.service.settings import Settings, read_settings
from driftline.store.port import Listed, Stored
from driftline.store.s3 import S3Settings, S3Store
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline_cli import objects
from driftline_cli.replay import chunks, post
from driftline_client import AsyncClient
from driftline_inference.app import create_app as create_inference
from driftline_inference.settings import InferenceSettings
from driftline_ingest.app import create_app as create_ingest
from driftline_ingest.settings import IngestSettings
from driftline_trainer.app import create_app as create_trainer
from driftline_trainer.settings import TrainerSettings
from tests.conftest import ROOT
from tests.s3_server import S3Server

TEMPLATES = ROOT / "deploy" / "aws"
PATIENCE_S = 120


class NotYetError(Exception):
    pass


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Server]:
    found = S3Server(tmp_path)
    await asyncio.to_thread(found.start)
    for name, value in objects.credentials(tmp_path).items():
        monkeypatch.setenv(name, value)
    yield found
    found.stop()


async def deploy(server: S3Server, name: str, template: str, **parameters: str) -> dict[str, str]:
    """The stack's outputs, when it is complete."""
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    async with objects._client("cloudformation", server.folder, server.port) as cloud:
        await cloud.create_stack(
            StackName=name,
            TemplateBody=(TEMPLATES / template).read_text(),
            Parameters=given,
            Capabilities=["CAPABILITY_IAM"],
        )
        async for attempt in stamina.retry_context(on=NotYetError, attempts=None, timeout=PATIENCE_S, wait_max=0.5):
            with attempt:
                (stack,) = (await cloud.describe_stacks(StackName=name))["Stacks"]
                if stack["StackStatus"].endswith("IN_PROGRESS"):
                    raise NotYetError
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


class Noted(S3Store):
    """Writes down which of AWS's actions it asks for, and on what."""

    def __init__(self, settings: S3Settings) -> None:
        super().__init__(settings)
        self._bucket = settings.bucket
        self.asked: set[tuple[str, str]] = set()

    def _note(self, action: str, key: str) -> None:
        self.asked.add((action, f"arn:aws:s3:::{self._bucket}/{key}"))

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        self._note("s3:GetObject", key)
        return await super().get(key, unless=unless, limit=limit)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        self._note("s3:PutObject", key)
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)

    async def delete(self, key: str) -> None:
        self._note("s3:DeleteObject", key)
        await super().delete(key)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        self.asked.add(("s3:ListBucket", f"arn:aws:s3:::{self._bucket}"))
        async for listed in super().list(prefix, after=after):
            yield listed


def store_of(settings: Settings) -> Noted:
    """As `driftline.service.ports` opens it."""
    bucket = settings.store.removeprefix("s3://")
    return Noted(S3Settings(bucket, endpoint=settings.store_endpoint, queue=settings.store_queue))


class Services:
    """Ingest and inference on a device, the trainer in the cloud: set up by the outputs of the stacks alone."""

    def __init__(
        self, server: S3Server, made: dict[str, str], device: dict[str, str], stream: StreamDefinition
    ) -> None:
        streams, bus, key = {stream.name: stream}, MemoryBus(), new_key()
        # Nobody looks by himself for an hour: whatever happens, happens by an event.
        common: dict[str, Any] = {
            "store": made["Store"],
            "store_endpoint": server.endpoint,
            "store_poll": 3600,
            "token": None,
        }
        training = read_settings(
            TrainerSettings,
            **common,
            store_queue=made["TrainerQueue"],
            data_dir=server.folder,
            signing_key=SecretStr(key),
        )
        inferring = read_settings(
            InferenceSettings,
            **common,
            store_queue=device["Queue"],
            edge="pi-1",
            trusted_keys=Signer(key).public,
            cache=server.folder / "cache",
        )
        taking = read_settings(IngestSettings, **common)
        self.stores = {"trainer": store_of(training), "inference": store_of(inferring), "ingest": store_of(taking)}
        self._apps = {
            "trainer": create_trainer(training, self.stores["trainer"], streams=streams),
            "inference": create_inference(inferring, bus, self.stores["inference"], streams=streams),
            "ingest": create_ingest(taking, bus, self.stores["ingest"], streams=streams),
        }
        self._stream = stream.name
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for app in self._apps.values():
            await self._stack.enter_async_context(app.router.lifespan_context(app))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def client(self, name: str) -> httpx.AsyncClient:
        app: FastAPI = self._apps[name]
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{name}", timeout=PATIENCE_S)

    def door(self) -> AsyncClient:
        return AsyncClient(transport=httpx.ASGITransport(self._apps["ingest"]), timeout=PATIENCE_S, patience=60)

    async def serves(self, member: str, beginning: str) -> dict[str, Any]:
        """The status of a member's model at inference, once a version that begins so serves."""
        async with self.client("inference") as client:
            async for attempt in stamina.retry_context(
                on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.5
            ):
                with attempt:
                    status = (await client.get(f"/v1/models/{self._stream}.{member}")).raise_for_status().json()
                    async with self.client("trainer") as trainer:
                        jobs = (await trainer.get("/v1/jobs")).json()
                    assert (status["version"] or "").startswith(beginning), (status, jobs)
        return status


def resources_of(template: str) -> Any:
    import cfnlint.decode.cfn_yaml  # noqa: PLC0415 - a second that every worker would pay to list the tests

    return cfnlint.decode.cfn_yaml.load(str(TEMPLATES / template))["Resources"]


def policies(bucket: str) -> dict[str, Sequence[Any]]:
    """By service the statements of its policy in the templates, for this bucket."""
    arn = f"arn:aws:s3:::{bucket}"
    names = {"AWS::Partition": "aws", "Bucket": bucket, "Bucket.Arn": arn, "Edge": "*"}
    store = resources_of("store.yaml")
    device = resources_of("device.yaml")
    (trainer,) = store["TrainerRole"]["Properties"]["Policies"]
    documents = {
        "trainer": trainer["PolicyDocument"],
        "ingest": device["IngestPolicy"]["Properties"]["PolicyDocument"],
        "inference": device["InferencePolicy"]["Properties"]["PolicyDocument"],
    }
    return {service: _resolved(document["Statement"], names) for service, document in documents.items()}


def _resolved(value: Any, names: dict[str, str]) -> Any:
    """A template's value with its names replaced; what is of no bucket stays as it is."""
    if isinstance(value, list):
        return [_resolved(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    if "Fn::Sub" in value:
        text = value["Fn::Sub"]
        for name, found in names.items():
            text = text.replace(f"${{{name}}}", found)
        return text
    if "Fn::GetAtt" in value:
        name = ".".join(value["Fn::GetAtt"])
        return names.get(name, name)
    return {key: _resolved(each, names) for key, each in value.items()}


def allows(statements: Sequence[Any], action: str, resource: str) -> bool:
    return any(
        statement["Effect"] == "Allow"
        and action in _list(statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in _list(statement["Resource"]))
        for statement in statements
    )


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.s3
async def test_a_model_reaches_the_device_and_its_windows_the_trainer_and_nobody_asks_for_more_than_he_may(
    server: S3Server, temperature: StreamDefinition, tmp_path: Path
):
    training = temperature.training.model_copy(update={"epochs": 2, "units": (16,), "networks": 1})
    quick = temperature.model_copy(update={"training": training, "window": 100})
    rows = tables.read_file(ROOT / "data" / "la-haute-borne.parquet", quick)
    (tmp_path / "history.parquet").write_bytes(tables.encode(rows.take(slice(0, 8000)), quick))
    made = await deploy(server, "driftline", "store.yaml")
    device = await deploy(
        server, "driftline-pi-1", "device.yaml", Device="pi-1", Bucket=made["BucketName"], ModelTopic=made["ModelTopic"]
    )
    async with Services(server, made, device, quick) as services:
        async with services.client("trainer") as client:
            asked = {"stream": quick.name, "member": "batch", "history": "history.parquet"}
            (await client.post("/v1/jobs", json=asked)).raise_for_status()
        # S3 -> SNS -> the device's queue: both are swapped in.
        for member in ("batch", "speed"):
            await services.serves(member, "v000001-")
        async with services.door() as client:
            for part in chunks(rows.take(slice(8000, 9700)), 200):
                await post(client, quick, part)
        # Windows -> S3 -> the trainer's queue -> a retraining -> S3 -> SNS -> the device's queue.
        await services.serves("speed", "v000002-")
        assert (await services.serves("batch", "v000001-"))["refused"] == {}
    allowed = policies(made["BucketName"])
    for service, store in services.stores.items():
        assert store.asked
        refused = {each for each in store.asked if not allows(allowed[service], *each)}
        assert refused == set(), service
    assert not allows(allowed["ingest"], "s3:GetObject", f"arn:aws:s3:::{made['BucketName']}/models/a")
    assert not allows(allowed["inference"], "s3:PutObject", f"arn:aws:s3:::{made['BucketName']}/models/a/current.json")
    assert not allows(allowed["trainer"], "s3:PutObject", f"arn:aws:s3:::{made['BucketName']}/history/a")


@pytest.mark.s3
async def test_what_goes_wrong_raises_an_alarm(server: S3Server):
    """One for each queue that is not read, each that holds what nobody could do, and for refused requests."""
    topic = "arn:aws:sns:us-east-1:000000000000:alarms"
    made = await deploy(server, "driftline", "store.yaml", AlarmTopic=topic)
    await deploy(
        server,
        "driftline-pi-1",
        "device.yaml",
        Device="pi-1",
        Bucket=made["BucketName"],
        ModelTopic=made["ModelTopic"],
        AlarmTopic=topic,
    )
    async with objects._client("cloudwatch", server.folder, server.port) as watch:
        alarms = (await watch.describe_alarms())["MetricAlarms"]
    assert all(alarm["AlarmActions"] == [topic] for alarm in alarms)
    watched = {(alarm["MetricName"], *sorted(each["Value"] for each in alarm["Dimensions"])) for alarm in alarms}
    assert watched == {
        ("ApproximateAgeOfOldestMessage", "driftline-trainer"),
        ("ApproximateAgeOfOldestMessage", "driftline-pi-1-pi-1"),
        ("ApproximateNumberOfMessagesVisible", "driftline-trainer-dead-letters"),
        ("ApproximateNumberOfMessagesVisible", "driftline-pi-1-pi-1-dead-letters"),
        ("NumberOfNotificationsFailed", "driftline-models"),
        ("4xxErrors", "all", made["BucketName"]),
    }


@pytest.mark.parametrize(
    ("template", "queue", "aside"),
    [("store.yaml", "TrainerQueue", "TrainerDeadLetters"), ("device.yaml", "Queue", "DeadLetters")],
)
def test_what_is_taken_five_times_and_never_done_is_set_aside(template: str, queue: str, aside: str):
    """As the template says: the emulator leaves this out."""
    resources = resources_of(template)
    redrive = resources[queue]["Properties"]["RedrivePolicy"]
    assert redrive == {"deadLetterTargetArn": {"Fn::GetAtt": [aside, "Arn"]}, "maxReceiveCount": 5}
    assert resources[aside]["Properties"]["SqsManagedSseEnabled"]


@pytest.mark.s3
async def test_the_bucket_is_versioned(server: S3Server):
    made = await deploy(server, "driftline", "store.yaml", WindowDays="30")
    async with objects._client("s3", server.folder, server.port) as s3:
        assert (await s3.get_bucket_versioning(Bucket=made["BucketName"]))["Status"] == "Enabled"


def test_the_bucket_is_private_encrypted_and_asks_for_tls():
    """As the template says: the emulator leaves this out."""
    resources = resources_of("store.yaml")
    bucket = resources["Bucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    (statement,) = resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


@pytest.mark.parametrize("template", ["store.yaml", "device.yaml"])
def test_the_templates_are_clean(template: str):
    command = [
        str(Path(sys.executable).with_name("cfn-lint")),
        "--non-zero-exit-code",
        "informational",
        str(TEMPLATES / template),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
