"""The CloudFormation templates, deployed on a local emulator, with the services' own code on what they made."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import cfnlint.decode.cfn_yaml
import pytest
import stamina

from driftline.s3 import S3Settings, S3Store
from driftline_cli import objects
from tests.conftest import ROOT
from tests.s3_server import S3Server

TEMPLATES = ROOT / "deploy" / "aws"
PATIENCE_S = 60


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


@pytest.mark.s3
async def test_a_new_model_is_heard_of_by_the_device_and_a_new_window_by_the_trainer(server: S3Server):
    made = await deploy(server, "driftline", "store.yaml")
    device = await deploy(
        server, "driftline-pi-1", "device.yaml", Device="pi-1", Bucket=made["BucketName"], ModelTopic=made["ModelTopic"]
    )
    assert made["Store"] == f"s3://{made['BucketName']}"

    def store(queue: str) -> S3Store:
        return S3Store(S3Settings(made["BucketName"], endpoint=server.endpoint, queue=queue))

    edge, trainer = store(device["Queue"]), store(made["TrainerQueue"])
    try:
        pointer, window = "models/a/speed/current.json", "windows/a/k/000000000000-000000000249.parquet"
        heard = asyncio.create_task(hear(edge, "models/", pointer))
        seen = asyncio.create_task(hear(trainer, "windows/", window))
        await trainer.put(pointer, b"{}", if_absent=True)
        await edge.put(window, b"PAR1", if_absent=True)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(heard, seen)
    finally:
        await edge.close()
        await trainer.close()


async def hear(store: S3Store, prefix: str, key: str) -> None:
    """Returns when an event, and not a poll, has named the key."""
    async for keys in store.watch(prefix, poll=3600):
        if keys is not None and key in keys:
            return


@pytest.mark.s3
async def test_the_bucket_is_versioned(server: S3Server):
    made = await deploy(server, "driftline", "store.yaml", WindowDays="30")
    async with objects._client("s3", server.folder, server.port) as s3:
        assert (await s3.get_bucket_versioning(Bucket=made["BucketName"]))["Status"] == "Enabled"


def test_the_bucket_is_private_encrypted_and_asks_for_tls():
    """As the template says: the emulator leaves this out."""
    resources = cfnlint.decode.cfn_yaml.load(str(TEMPLATES / "store.yaml"))["Resources"]
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
