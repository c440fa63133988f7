"""A fleet of whole edges with one trainer between them, in one process: real records faster than they came, heartbeats
and looks at the store in rounds instead of minutes, and links that fail at random."""

import asyncio
import io
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Self

import numpy as np
import pyarrow.parquet as pq
import stamina
from fastapi import FastAPI
from pydantic import SecretStr

from driftline.fleet.quarantine import quarantine_of
from driftline.fleet.reading import StoreHeartbeats
from driftline.fleet.replacing import replace
from driftline.fleet.sealing import FleetKey
from driftline.models.manifest import Pointer
from driftline.models.signing import Signer, Trust, new_key
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline.versions.releases import current
from driftline_trainer.app import create_app
from driftline_trainer.fit import Trained
from driftline_trainer.publish import publish
from driftline_trainer.rollouts.trials import Trials
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trust import own_trust
from tests.fleet.linked_edges import FLEET_KEY, MEMBER, PARTITIONS, PATIENCE_S, LinkedEdge, LossyStore, NotYet, bus_in

TICKS = 48
"""Records of each series in a round."""
SHARES = (1.0, 1.0, 0.5, 0.0)
"""Of its requests that an edge's link lets through in a round: one of these."""
LONGEST = 60
"""Rounds that a roll-out may take."""
LONGEST_RUN = 640
"""Rounds of a fleet in all."""
RESTING = 0.25
"""The chance of an edge that is not in a trial to get records in a round: it only goes on as before."""


@dataclass(frozen=True)
class RolledOut:
    """How a roll-out ended. state: `stopped`, `done`, or `open` after LONGEST rounds. stage: the last one, counted from
    1. ran: edges that ever ran the version."""

    state: str
    stage: int
    rounds: int
    ran: int


@dataclass(frozen=True)
class Reimaged:
    """How a device went on whose disk was wiped, compared with the one before it, which went on, too. difference: the
    largest between their first forecasts."""

    edge: str
    forecasts: int
    difference: float


@dataclass(frozen=True)
class ArchivedRows:
    """What lies in the store of the records that were sent. lost: rows that a full window must hold and none does."""

    windows: int
    rows: int
    lost: int
    doubled: int


@dataclass
class Sensors:
    """The records of some series of one edge, in rounds, from `begin` on."""

    series: Sequence[Rows]
    names: Sequence[str]
    begin: int
    sent: int = 0
    """Of each series."""

    def next(self, ticks: int) -> Rows:
        rows = self.since(self.sent, ticks)
        self.sent += ticks
        return rows

    def since(self, first: int, ticks: int) -> Rows:
        """Which were sent, or are sent next: of each series from the `first` on."""
        which = slice(self.begin + first, self.begin + first + ticks)
        parts = [rows.take(which) for rows in self.series]
        t = np.concatenate([part.t for part in parts])
        order = np.argsort(t, kind="stable")
        keys = np.repeat(np.array(self.names), ticks)
        return Rows(keys[order], t[order], np.concatenate([part.values for part in parts])[order])


@dataclass
class LinkedFleet:
    """edges, sensors: by the edge's name."""

    folder: Path
    stream: StreamDefinition
    store: FolderStore
    signer: Signer
    trainer: FastAPI
    chance: random.Random
    edges: dict[str, LinkedEdge] = field(default_factory=dict)
    sensors: dict[str, Sensors] = field(default_factory=dict)
    cuts: int = 0
    """Rounds of an edge in which its link failed."""
    _life: AsyncExitStack = field(default_factory=AsyncExitStack)

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, folder: Path, stream: StreamDefinition, history: Mapping[str, Rows], *, edges: int, seed: int
    ) -> AsyncIterator[Self]:
        """history: by series the records that sensors send, a part of them each."""
        pem = new_key()
        store, chance = FolderStore(folder / "store"), random.Random(seed)
        settings = TrainerSettings(signing_key=SecretStr(pem), store=str(folder / "store"), streams=folder / "streams")
        deaths: list[str] = []
        trainer = create_app(
            settings, store, streams={stream.name: stream}, on_death=lambda job, error: deaths.append(f"{job}: {error}")
        )
        fleet = cls(folder, stream, store, Signer(pem), trainer, chance)
        async with trainer.router.lifespan_context(trainer), fleet._life:
            for number in range(edges):
                await fleet._add(f"edge{number}", history)
            yield fleet
            deaths += [death for edge in fleet.edges.values() for death in edge.deaths]
            assert deaths == []

    async def _add(self, name: str, history: Mapping[str, Rows]) -> None:
        names = self.chance.sample(sorted(history), 2)
        series = [history[key] for key in names]
        longest = min(map(len, series)) - LONGEST_RUN * TICKS
        self.sensors[name] = Sensors(series, [f"{key}-{name}" for key in names], self.chance.randrange(longest))
        await self._open(name, self.folder / name)

    async def _open(self, name: str, folder: Path) -> LinkedEdge:
        edge = LinkedEdge(folder, LossyStore(self.store, self.chance), self.stream, self.signer.public)
        self.edges[name] = await self._life.enter_async_context(edge)
        return edge

    @property
    def trust(self) -> Trust:
        return own_trust(self.signer)

    async def pointer(self) -> Pointer:
        before = await current(self.store, self.stream.name, MEMBER)
        assert before is not None
        return before.pointer

    async def publish(self, trained: Trained) -> str:
        """As the trainer does with what it has trained."""
        view = StoreHeartbeats(self.store)
        before = await current(self.store, self.stream.name, MEMBER)
        trials = Trials(self.store, view, self.trust, time)
        manifest = await publish(
            self.store,
            self.stream,
            MEMBER,
            trained,
            signer=self.signer,
            before=before,
            parent=None,
            windows={},
            now=time(),
            trial=await trials.of(self.stream, MEMBER, before),
        )
        return manifest.version

    async def begin(self, trained: Trained) -> str:
        """All edges run the first version and have said so."""
        version = await self.publish(trained)
        await self.follow()
        await asyncio.gather(*(edge.send(self.sensors[name].next(TICKS)) for name, edge in self.edges.items()))
        await asyncio.gather(*(edge.report() for edge in self.edges.values()))
        assert {edge.serving for edge in self.edges.values()} == {version}
        return version

    async def turn(self, shares: Sequence[float] = SHARES) -> None:
        """One round: links change, sensors send, edges report, the trainer looks, edges look."""
        for edge in self.edges.values():
            edge.link.share = self.chance.choice(shares)
            self.cuts += edge.link.share < 1
        trial = (await self.pointer()).trial
        await asyncio.gather(
            *(
                edge.send(self.sensors[name].next(TICKS))
                for name, edge in self.edges.items()
                if (trial is not None and edge.serving == trial.version) or self.chance.random() < RESTING
            )
        )
        await asyncio.gather(*(edge.report() for edge in self.edges.values()))
        await self.trainer.state.rollouts.look()
        await self.follow()

    async def follow(self) -> None:
        await asyncio.gather(*(edge.follow() for edge in self.edges.values()))

    async def roll_out(self, trained: Trained) -> RolledOut:
        """Publishes a version and lets the trainer decide on it."""
        before = (await self.pointer()).version
        version = await self.publish(trained)
        ran: set[str] = set()
        stage = 0
        for turns in range(1, LONGEST + 1):
            await self.turn()
            ran |= {name for name, edge in self.edges.items() if edge.serving == version}
            pointer = await self.pointer()
            if pointer.trial is None:
                state = "done" if pointer.version == version else "stopped"
                return await self._ended(RolledOut(state, stage, turns, len(ran)), version, before)
            stage = pointer.trial.stage + 1
        return RolledOut("open", stage, LONGEST, len(ran))

    async def _ended(self, outcome: RolledOut, version: str, before: str) -> RolledOut:
        """With all links up, every edge runs what it should."""
        await self.turn(shares=(1.0,))
        is_refused = await quarantine_of(self.store, self.stream.name, MEMBER, version, self.trust) is not None
        assert is_refused == (outcome.state == "stopped")
        expected = version if outcome.state == "done" else before
        assert {edge.serving for edge in self.edges.values()} == {expected}
        return outcome

    async def reimage(self, name: str) -> Reimaged:
        """Wipes an edge's disk when it has ended in good order, and has a new device go on under its id. The old disk
        goes on, too, with its link cut, to compare. The sensors send again what may be in no window."""
        old = self.edges[name]
        old.link.share = 1.0
        await self._archived(name)
        old.leaves_last = True
        await old.__aexit__()
        twin = self.folder / f"{name}-before"
        shutil.copytree(old.folder, twin)
        shutil.rmtree(old.folder)
        old.folder.mkdir()
        bus = bus_in(old.folder)
        try:
            await replace(old.id, bus, self.store, FleetKey(FLEET_KEY), partitions=PARTITIONS, force=True)
        finally:
            await bus.close()
        new = await self._open(name, old.folder)
        await new.follow()
        assert (new.id, new.serving) == (old.id, old.serving)
        sensors = self.sensors[name]
        again = min(sensors.sent, 2 * self.stream.window)
        await new.post(sensors.since(sensors.sent - again, again))
        rows = sensors.next(TICKS)
        link = LossyStore(self.store, self.chance)
        link.share = 0.0
        async with LinkedEdge(twin, link, self.stream, self.signer.public) as before:
            await asyncio.gather(new.send(rows), before.send(rows))
        shutil.rmtree(twin)
        pairs = [
            (new.values[name], before.values[name]) for name in zip(rows.keys.tolist(), rows.t.tolist(), strict=True)
        ]
        difference = np.abs(np.array([a for a, _ in pairs], float) - np.array([b for _, b in pairs], float)).max()
        return Reimaged(old.id, len(pairs), float(difference))

    async def _archived(self, name: str) -> None:
        """Returns when all full windows of an edge's records are in the store."""
        sensors = self.sensors[name]
        full = sensors.sent // self.stream.window * self.stream.window
        async for attempt in stamina.retry_context(
            on=NotYet, attempts=None, timeout=PATIENCE_S, wait_initial=0.05, wait_max=0.2
        ):
            with attempt:
                for key in sensors.names:
                    if len(await self._windows(key)) < full // self.stream.window:
                        raise NotYet(key)

    async def _windows(self, key: str) -> list[str]:
        return [listed.key async for listed in self.store.list(f"windows/{self.stream.name}/{key}/")]

    async def _times(self, name: str) -> dict[str, list[int]]:
        """By series of an edge the times of the rows in its windows."""
        times: dict[str, list[int]] = {}
        for key in self.sensors[name].names:
            times[key] = [t for file in await self._windows(key) for t in await self._times_in(file)]
        return times

    async def _times_in(self, key: str) -> list[int]:
        stored = await self.store.get(key)
        assert stored is not None
        column = pq.read_table(io.BytesIO(stored.body)).column(self.stream.time.column)
        times: list[int] = column.to_numpy().astype("datetime64[ms]").astype(np.int64).tolist()
        return times

    async def archived(self) -> ArchivedRows:
        """With all links up, what lies in the store."""
        for edge in self.edges.values():
            edge.link.share = 1.0
        await asyncio.gather(*map(self._archived, self.edges))
        lost = doubled = rows = 0
        for name, sensors in self.sensors.items():
            full = sensors.sent // self.stream.window * self.stream.window
            expected = sensors.since(0, full)
            for key, times in (await self._times(name)).items():
                counted = Counter(times)
                doubled += sum(counted.values()) - len(counted)
                lost += len(set(expected.t[expected.keys == key].tolist()) - counted.keys())
                rows += len(times)
        files = [listed.key async for listed in self.store.list(f"windows/{self.stream.name}/")]
        return ArchivedRows(len(files), rows, lost, doubled)
