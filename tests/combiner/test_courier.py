"""The courier asks a real trainer for a new speed model, through everything that is in the way."""

import asyncio
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

from driftline.bus.memory import MemoryBus
from driftline.messages import ALERTS, Alert
from driftline.metrics import Metrics
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline.worker.loop import Worker
from driftline.worker.loop_settings import LoopSettings
from driftline_combiner.app import create_app
from driftline_combiner.retrain_requests import RetrainStep, TrainerSink
from driftline_combiner.settings import CombinerSettings
from driftline_trainer.app import create_app as create_trainer
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer

PATIENCE_S = 120
NAME = "outdoor-temperature"


class Rig:
    """A trainer that takes jobs in and does not work on them, and the way to it."""

    def __init__(self, folder: Path, stream: StreamDefinition) -> None:
        self.store = FolderStore(folder)
        self.streams = {stream.name: stream}
        settings = TrainerSettings(store=str(folder))
        self.trainer = Trainer(settings, self.store, self.streams, Metrics())
        app = create_trainer(settings, self.store, streams=self.streams, trainer=self.trainer)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trainer")

    async def jobs(self, count: int) -> list[tuple[str, str]]:
        """What the trainer has been asked for, as soon as it is so much."""
        async with asyncio.timeout(PATIENCE_S):
            async for _ in self.store.watch("jobs/", poll=0.1):
                if len(self.trainer.jobs()) >= count:
                    return [(job.stream, job.trigger) for job in self.trainer.jobs()]
        raise AssertionError


def alert(kind: str) -> Alert:
    return Alert(NAME, "R80711", 0, kind, "blend", "")


async def test_drift_and_negative_skill_ask_for_a_speed_model_and_nothing_else_does(tmp_path, temperature):
    rig, bus = Rig(tmp_path / "store", temperature), MemoryBus()
    died: list[BaseException] = []
    app = create_app(
        CombinerSettings(),
        bus,
        streams=rig.streams,
        trainer=rig.client,
        on_death=lambda _, error: died.append(error),
    )
    async with app.router.lifespan_context(app):
        await bus.publish(ALERTS, [alert("anomaly"), alert("stuck"), alert("drift"), alert("drift")])
        assert await rig.jobs(1) == [(NAME, "drift")]
        (job,) = rig.trainer.jobs()
        assert (job.member, job.state) == ("speed", "queued")
    assert died == []


async def test_a_request_outlives_a_trainer_that_is_away_and_the_courier_itself(tmp_path, temperature):
    rig, bus = Rig(tmp_path / "store", temperature), MemoryBus()
    # The trainer can't write its jobs down, so it takes none.
    lock = rig.store.root / ".lock"
    await rig.store.put("first", b"")
    lock.unlink()
    lock.mkdir()
    await bus.publish(ALERTS, [alert("negative-skill")])
    asked = asyncio.Event()

    class Listening(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await rig.client._transport.handle_async_request(request)
            if answer.status_code == 503:
                asked.set()
            return answer

    def courier() -> Worker[Alert]:
        client = httpx.AsyncClient(transport=Listening(), base_url="http://trainer")
        return Worker("combiner-courier", bus, ALERTS, RetrainStep(), LoopSettings(), sink=TrainerSink(client))

    async with AsyncExitStack() as stack:
        stack.callback(lambda: shutil.rmtree(lock, ignore_errors=True))
        first = asyncio.create_task(courier().run())
        async with asyncio.timeout(PATIENCE_S):
            await asked.wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert rig.trainer.jobs() == []
    second = asyncio.create_task(courier().run())
    assert await rig.jobs(1) == [(NAME, "negative-skill")]
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
