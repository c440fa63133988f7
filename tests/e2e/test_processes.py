"""Four processes on a real Kafka and a real S3 server, killed and paused: the blends are as if nothing happened."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.messages import BLENDS, Blend
from driftline.models import manifest as manifests
from driftline.models.signing import KEY_FILE, read
from driftline.store.folder import FolderStore
from driftline.store.s3 import S3Settings, S3Store
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline.streams.tables import encode
from driftline_cli import objects, processes
from driftline_cli.chain import running_chain
from driftline_cli.replay import chunks, post
from driftline_cli.stack import BUCKET, Ports, Stack
from driftline_client import AsyncClient

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.e2e]
RECORDS = 2000
PATIENCE_S = 120
CLOSE = 1e-5
"""Networks count in float32, and in batches of other sizes after a kill: on some processors the last digits differ by
that, and what the combiner solves makes more of it: 2e-6 was seen."""


@asynccontextmanager
async def running_stack(folder: Path, streams: Path, **environment: str) -> AsyncIterator[Stack]:
    """Nobody is asked for new models in the middle: what is compared must be forecast by the same ones."""
    stack = Stack(folder, streams, ports=Ports.free(), environment={"DRIFTLINE_TRAINER": ""} | environment)
    try:
        await stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture
def kafka_here(brokers: str) -> None:
    """Skips, with the reason, where no Kafka can be had."""


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in objects.credentials(tmp_path).items():
        monkeypatch.setenv(name, value)


async def train(stack: Stack, stream: StreamDefinition) -> None:
    """Trains the batch model by REST, and waits until inference serves both models."""
    async with httpx.AsyncClient(timeout=30) as client, asyncio.timeout(PATIENCE_S):
        asked = {"stream": stream.name, "member": "batch", "history": "history.parquet"}
        (await client.post(f"{stack.url('trainer')}/v1/jobs", json=asked)).raise_for_status()
        serving = 0
        while serving < 2:
            models = (await client.get(f"{stack.url('inference')}/v1/models")).json()["models"]
            serving = sum(model["state"] == "serving" for model in models)
            jobs = (await client.get(f"{stack.url('trainer')}/v1/jobs")).json()
            assert jobs[0]["state"] in {"queued", "running", "published"}, jobs


async def models_of(stack: Stack, stream: StreamDefinition, into: Path) -> None:
    """Copies the models that the stack serves into a folder store."""
    store, copy = S3Store(S3Settings(BUCKET, endpoint=f"http://127.0.0.1:{stack.ports.s3}")), FolderStore(into)
    async for listed in store.list(f"models/{stream.name}/"):
        await copy.put(listed.key, (await store.get(listed.key)).body)
    await store.close()
    assert await copy.get(manifests.pointer_key(stream.name, "batch"))


async def undisturbed(stack: Stack, stream: StreamDefinition, folder: Path, rows: Rows) -> dict[tuple[str, int], Blend]:
    """What the stack's models give in one process, whose services believe the stack's key."""
    key = read(stack.folder / "keys" / KEY_FILE)
    async with running_chain({stream.name: stream}, folder, signing_key=key) as chain:
        async for _ in chain.stream(stream, rows):
            pass
        return {(blend.key, blend.t): blend for blend in chain.collected.blends}


class Published:
    """Everything on the blends topic, as a `read_committed` reader sees it."""

    def __init__(self, stack: Stack) -> None:
        self._bus = KafkaBus(KafkaSettings(f"127.0.0.1:{stack.ports.kafka}"))

    async def until(self, names: int) -> list[Blend]:
        found: list[Blend] = []
        async with asyncio.timeout(PATIENCE_S), aclosing(self._bus.tail(BLENDS, earliest=True)) as pages:
            async for page in pages:
                found += [envelope.value for envelope in page]
                if len({(blend.key, blend.t) for blend in found}) >= names:
                    return found
        raise AssertionError("unreachable")

    async def close(self) -> None:
        await self._bus.close()


async def send(stack: Stack, stream: StreamDefinition, rows: Rows) -> None:
    async with AsyncClient(ingest=stack.url("ingest"), patience=60) as client:
        for part in chunks(rows, 50):
            receipt = await post(client, stream, part)
            assert receipt.accepted == len(part)


def assert_same(found: list[Blend], expected: dict[tuple[str, int], Blend]) -> None:
    """Every name is there, and whatever came under it, once or twice, is what was expected."""
    assert {(blend.key, blend.t) for blend in found} == set(expected)
    for blend in found:
        ought = expected[blend.key, blend.t]
        assert blend.observed == ought.observed
        assert blend.versions == ought.versions
        assert blend.value == pytest.approx(ought.value, abs=CLOSE)
        assert blend.weights == {name: pytest.approx(row, abs=CLOSE) for name, row in ought.weights.items()}


async def kill_and_restart(stack: Stack, *services: str) -> None:
    for service in services:
        stack.signal(service, signal.SIGKILL)
    for service in services:
        stack.start(service)


@pytest.mark.usefixtures("kafka_here", "credentials")
async def test_killed_and_paused_services_publish_what_an_undisturbed_run_does(
    tmp_path: Path, calm: StreamDefinition, calm_folder: Path, history: Rows, later: Rows
):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "history.parquet").write_bytes(encode(history, calm))
    rows = later.take(slice(0, RECORDS))
    async with running_stack(tmp_path, calm_folder, DRIFTLINE_DATA_DIR=str(tmp_path / "data")) as stack:
        published = Published(stack)
        await train(stack, calm)
        await models_of(stack, calm, tmp_path / "reference")
        await send(stack, calm, rows.take(slice(0, 500)))
        await published.until(250)
        await kill_and_restart(stack, "inference", "combiner")
        await send(stack, calm, rows.take(slice(500, 1000)))
        await published.until(1000)
        zombie, other = "combiner", stack.start("combiner", "-b", port=0)
        await send(stack, calm, rows.take(slice(1000, 1250)))
        await published.until(1250)
        stack.signal(zombie, signal.SIGSTOP)
        await send(stack, calm, rows.take(slice(1250, 1600)))
        # All of them can only be there when the other replica took over what the paused one held.
        await published.until(1600)
        stack.signal(zombie, signal.SIGCONT)
        await send(stack, calm, rows.take(slice(1600, RECORDS)))
        found = await published.until(RECORDS)
        assert processes.running(stack.folder, zombie) is not None
        processes.stop(stack.folder, other)
        await published.close()
    assert_same(found, await undisturbed(stack, calm, tmp_path / "reference", rows))


@pytest.mark.usefixtures("kafka_here", "credentials")
async def test_exactly_once_shows_a_committed_reader_not_one_repeat(
    tmp_path: Path, calm: StreamDefinition, calm_folder: Path, later: Rows
):
    rows = later.take(slice(0, RECORDS))
    async with running_stack(tmp_path, calm_folder, DRIFTLINE_DELIVERY="exactly_once") as stack:
        published = Published(stack)
        for part in chunks(rows, 500):
            await send(stack, calm, part)
            await kill_and_restart(stack, "inference", "combiner")
        found = await published.until(RECORDS)
        await published.close()
    assert len(found) == RECORDS
    assert_same(found, await undisturbed(stack, calm, tmp_path / "reference", rows))
