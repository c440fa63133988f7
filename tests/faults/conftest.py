"""An edge at work: records flow in, models come from a real S3 server over a link that can be cut."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx
import pytest
import stamina

from driftline.bus.memory import MemoryBus
from driftline.errors import Conflict
from driftline.messages import FORECASTS, RECORDS, Forecast, Record
from driftline.models import manifest as manifests
from driftline.models.manifest import Pointer
from driftline.models.signing import Signer, new_key
from driftline.service.settings import read_settings
from driftline.stoppable import until_set
from driftline.store.s3 import S3Settings, S3Store
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline.streams.tables import read_file
from driftline.versions.releases import Current, current
from driftline_cli import objects
from driftline_inference.app import create_app
from driftline_inference.settings import InferenceSettings
from driftline_trainer.fit import Task, Trained
from driftline_trainer.publish import publish
from tests.conftest import ROOT
from tests.faults.link import Link, linked
from tests.models import Models
from tests.s3_server import S3Server
from tests.shared import Shared
from tests.trained import trained_once

T = TypeVar("T")
POLL_S = 0.2
EVERY_S = 0.02
PATIENCE_S = 120
SIGNER = Signer(new_key())


@pytest.fixture(scope="session")
def stream(temperature: StreamDefinition) -> StreamDefinition:
    return temperature.model_copy(
        update={"training": temperature.training.model_copy(update={"epochs": 1, "units": (64,), "networks": 1})}
    )


@pytest.fixture(scope="session")
def rows(stream: StreamDefinition) -> Rows:
    return read_file(ROOT / "data" / "la-haute-borne.parquet", stream)


@pytest.fixture(scope="session")
def versions(shared: Shared, stream: StreamDefinition, rows: Rows) -> list[Trained]:
    return [trained_once(shared, Task(stream, rows.take(slice(0, count)))) for count in (2000, 2400)]


class Log(Generic[T]):
    """What has come so far, and a way to wait for more."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self._grown = asyncio.Event()

    def add(self, items: Iterable[T]) -> None:
        self.items += items
        self._grown.set()

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.items) < count:
                self._grown.clear()
                await self._grown.wait()


@dataclass
class Edge:
    """One edge, its store seen from the cloud's side, and the link between them."""

    stream: StreamDefinition
    versions: list[Trained]
    bus: MemoryBus
    store: S3Store
    link: Link
    models: Models
    client: httpx.AsyncClient
    cache: Path
    sent: Log[Record]

    async def publish(self, number: int) -> str:
        """A version in the store, which the pointer names; its name."""
        return await self._release(number, await current(self.store, self.stream.name, "batch"))

    async def publish_aside(self, number: int) -> str:
        """A whole version that the pointer never named: whoever thinks to be the first loses the pointer."""
        with pytest.raises(Conflict):
            await self._release(number, None)
        folder = f"{manifests.folder(self.stream.name, 'batch')}/"
        keys = [listed.key.removeprefix(folder) async for listed in self.store.list(f"{folder}v")]
        return max(keys).split("/")[0]

    async def _release(self, number: int, before: Current | None) -> str:
        made = await publish(
            self.store,
            self.stream,
            "batch",
            self.versions[number],
            signer=SIGNER,
            before=before,
            parent=None,
            windows={},
            now=0.0,
        )
        return made.version

    async def publish_after_a_hole(self, number: int) -> str:
        """A version whose predecessor is missing: the pointer is put right by hand first."""
        await self.point((await self.status())["version"])
        return await self.publish(number)

    async def point(self, version: str) -> None:
        await self.store.put(manifests.pointer_key(self.stream.name, "batch"), manifests.encode(Pointer(version)))

    def model_key(self, version: str) -> str:
        return manifests.model_key(self.stream.name, "batch", version)

    def manifest_key(self, version: str) -> str:
        return manifests.manifest_key(self.stream.name, "batch", version)

    async def status(self) -> Any:
        answer = await self.client.get(f"/v1/models/{self.stream.name}.batch")
        return answer.raise_for_status().json()

    async def until(self, **wanted: Any) -> Any:
        """The status, once it says what is wanted."""
        retrying = stamina.retry_context(
            on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.02, wait_max=0.1, wait_jitter=0.02
        )
        async for attempt in retrying:
            with attempt:
                status = await self.status()
                found = {name: status[name] for name in wanted}
                assert found == wanted
        return status

    async def more_records(self, count: int = 15) -> None:
        """Returns when so many more were sent."""
        await self.sent.reach(len(self.sent.items) + count)


async def _feed(edge: Edge, rows: Rows, stopping: asyncio.Event) -> None:
    """Sends one record after the other. Not cancelled: a record that is sent is noted."""
    columns = edge.stream.columns
    for key, t, row in zip(rows.keys.tolist(), rows.t.tolist(), rows.values.tolist(), strict=True):
        values = {name: None if isnan(value) else value for name, value in zip(columns, row, strict=True)}
        record = Record(edge.stream.name, key, t, values, 0.0)
        await edge.bus.publish(RECORDS, [record])
        edge.sent.add([record])
        await until_set(stopping, EVERY_S)
        if stopping.is_set():
            return


async def _collect(bus: MemoryBus, found: Log[Forecast]) -> None:
    async for page in bus.tail(FORECASTS, earliest=True):
        found.add([envelope.value for envelope in page])


@pytest.fixture
async def edge(
    s3_server: S3Server, stream: StreamDefinition, rows: Rows, versions: list[Trained], tmp_path: Path
) -> AsyncIterator[Edge]:
    """Serves its first version. In the end every record must have its one forecast, by a version that may serve."""
    bucket = f"faults-{uuid.uuid4().hex[:8]}"
    await objects.prepare(s3_server.folder, s3_server.port, bucket)
    store = S3Store(S3Settings(bucket, endpoint=s3_server.endpoint))
    async with linked(s3_server.port) as link:
        far = S3Store(S3Settings(bucket, endpoint=f"http://127.0.0.1:{link.port}", timeout=1.0))
        cache = tmp_path / "cache"
        bus, deaths = MemoryBus(), list[str]()
        settings = read_settings(
            InferenceSettings, store_poll=POLL_S, cache=cache, token=None, trusted_keys=SIGNER.public
        )
        app = create_app(
            settings,
            bus,
            far,
            streams={stream.name: stream},
            on_death=lambda job, error: deaths.append(f"{job}: {error!r}"),
        )
        models = Models.of(app)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge")
        edge = Edge(stream, versions, bus, store, link, models, client, cache, Log())
        first = await edge.publish(0)
        forecasts = Log[Forecast]()
        async with app.router.lifespan_context(app), client:
            stopping = asyncio.Event()
            feeding = asyncio.create_task(_feed(edge, rows, stopping))
            collecting = asyncio.create_task(_collect(bus, forecasts))
            await edge.until(version=first)
            await edge.more_records()
            yield edge
            stopping.set()
            await feeding
            await forecasts.reach(len(edge.sent.items))
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)
        await store.close()
    assert deaths == []
    # Partitions are read side by side, so there is an order within each series alone.
    found, sent = (sorted((each.key, each.t) for each in log.items) for log in (forecasts, edge.sent))
    assert found == sent, "none lost, none doubled"
    served = {swap.version for swap in models.registry.state(stream.name, "batch").latest}
    assert {f.versions["batch"] for f in forecasts.items if "batch" in f.versions} <= served
