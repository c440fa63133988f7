"""Publishes the trainer's folder of definitions for the edges, whenever its content has changed: in stages, each after
the edges of the one before have taken it in."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from driftline.errors import Conflict, InvalidInput, NotFound, StoreUnavailable, TooLarge, Unstorable
from driftline.fleet.definitions import (
    KEY,
    LIMIT,
    DefinitionBundle,
    DefinitionTrial,
    check,
    read_files,
    version_of,
)
from driftline.fleet.heartbeat import Heartbeat
from driftline.fleet.notes import opened, sealed
from driftline.fleet.reading import FleetView
from driftline.fleet.rollout import begins_later, rank, size_of, stage_after, topped_up
from driftline.models.signing import Signer, Trust
from driftline.stoppable import until_set
from driftline.store.port import Store, Stored

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Seconds between two looks at the folder."""
AWAITED_SHOWN = 20
"""Edges of a waiting stage that the log names at most."""
BEFORE_THE_FIRST = -1
"""The stage of what nobody has taken in yet."""


@dataclass(frozen=True)
class DefinitionStages:
    """How a change goes out. stages: such as `1` or `10%`, the last of them all edges; hold: seconds at least that each
    lasts."""

    stages: Sequence[str]
    hold: float

    def name(self, stage: int) -> str:
        """Of a stage, also where there are fewer by now."""
        return self.stages[min(stage, len(self.stages) - 1)]


class DefinitionPublisher:
    """See `driftline.service.app.BackgroundJob`. What was published last, by whomever, counts until the folder here
    says something else than it did: of several trainers the one whose folder was changed last is right.

    fleet: which edges there are, and what they say that they have taken in.
    """

    name = "definition publisher"

    def __init__(
        self,
        folder: Path,
        store: Store,
        signer: Signer | None,
        trust: Trust,
        fleet: FleetView,
        stages: DefinitionStages,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._store = store
        self._signer = signer
        self._trust = trust
        self._fleet = fleet
        self._stages = stages
        self._clock = clock
        self._seen: str | None = None
        self._published: str | None = None
        self._refused: str | None = None
        # What it was last said to be hindered by.
        self._hindered = ""
        self._on_trial: DefinitionTrial | None = None
        # What was last said to be waited for.
        self._awaited: tuple[DefinitionTrial, list[str]] | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.look()
                self._hindered = ""
            except (StoreUnavailable, Conflict, InvalidInput, Unstorable) as error:
                self._say_hindered(str(error))
            await until_set(self._stopping, LOOK_S)

    def _say_hindered(self, why: str) -> None:
        """Once, however long it lasts."""
        if why != self._hindered:
            log.warning("the definitions are not published yet: %s", why)
        self._hindered = why

    async def stop(self) -> None:
        self._stopping.set()

    async def look(self) -> None:
        """Publishes what has changed since the last time and was the same at the last look: a file may be in the midst
        of being written. Then moves what is on trial. Raises StoreUnavailable, Conflict where another trainer publishes
        at this moment, InvalidInput for what edges do not take, TooLarge for what lies there, and Unstorable."""
        files = await asyncio.to_thread(_read, self._folder)
        version = version_of(files)
        before, self._seen = self._seen, version
        if files and version == before and version not in {self._published, self._refused}:
            await self._take_up(files, version)
        if self._on_trial is not None:
            await self._move(self._on_trial)

    async def _take_up(self, files: Mapping[str, str], version: str) -> None:
        try:
            # In a thread, as with every look at the folder: parsing takes milliseconds.
            await asyncio.to_thread(check, files)
            await self._publish(files, version)
        except TooLarge:
            # What lies in the store, not what is in the folder: it may be removed.
            raise
        except InvalidInput as error:
            log.error("the definitions are not published: %s", error)  # noqa: TRY400 - it is no bug of ours
            self._refused = version
            return
        self._published, self._refused = version, None

    async def _publish(self, files: Mapping[str, str], version: str) -> None:
        stored = await self._stored()
        former = self._bundle(stored) if stored is not None else None
        whole = DefinitionBundle(version=version, number=0, files=dict(files))
        if former is None:
            await self._put(stored, whole, None)
        elif former.version == version:
            # The change on trial was taken back, or nothing has changed.
            if former.trial is not None:
                await self._put(stored, whole, former)
        elif former.trial is not None and former.trial.version == version:
            self._on_trial = former.trial
        else:
            trial = await self._first_trial(files, version)
            await self._put(stored, replace(former, trial=trial) if trial else whole, former)

    async def _first_trial(self, files: Mapping[str, str], version: str) -> DefinitionTrial | None:
        """None where all edges get it at once, as where there is one at most."""
        ranks = await self._ranks(version)
        begin = stage_after(self._stages.stages, BEFORE_THE_FIRST, list(ranks.values()), 0.0)
        if begin is None:
            return None
        return DefinitionTrial(
            version=version, files=dict(files), below=begin.below, stage=begin.stage, since=self._clock()
        )

    async def _ranks(self, version: str) -> dict[str, float]:
        """Of the edges that have their definitions from here and are not silent."""
        heartbeats = await self._fleet.look()
        edges = [e for e, heartbeat in heartbeats.items() if heartbeat.definitions and not self._fleet.is_silent(e)]
        return {edge: rank(edge, version, {}, {}) for edge in edges}

    async def _move(self, trial: DefinitionTrial) -> None:
        """To the next stage, once the edges of this one say that they have taken it in, and it has lasted."""
        if begins_later(trial.since, now := self._clock()):
            await self._replace(trial, replace(trial, since=now))
            return
        heartbeats, ranks = await self._fleet.look(), await self._ranks(trial.version)
        below = topped_up(self._stages.stages, trial.stage, trial.below, list(ranks.values()))
        if self._is_for_all(trial, len(ranks)) or self._is_taken_in(trial, heartbeats, ranks):
            await self._advance(trial, list(ranks.values()))
        elif below > trial.below:
            # Edges of the stage went silent, or others came: it has its number of edges again.
            await self._replace(trial, replace(trial, below=below))

    def _is_for_all(self, trial: DefinitionTrial, edges: int) -> bool:
        """Whether the stages were made fewer meanwhile, so that this one is the last."""
        return edges > 0 and size_of(self._stages.name(trial.stage), edges) >= edges

    def _is_taken_in(
        self, trial: DefinitionTrial, heartbeats: Mapping[str, Heartbeat], ranks: Mapping[str, float]
    ) -> bool:
        """Whether the edges of the stage that are not silent have it, and the stage has lasted."""
        inside = [edge for edge, its_rank in ranks.items() if its_rank < trial.below]
        missing = [edge for edge in inside if heartbeats[edge].definitions != trial.version]
        if not inside or self._clock() - trial.since < self._stages.hold:
            return False
        if missing and self._awaited != (trial, missing):
            self._awaited = trial, missing
            log.warning(
                "the definitions wait for edges that have not taken them in",
                extra={"version": trial.version, "edges": missing[:AWAITED_SHOWN]},
            )
        return not missing

    async def _advance(self, trial: DefinitionTrial, ranks: Sequence[float]) -> None:
        step = stage_after(self._stages.stages, trial.stage, ranks, trial.below)
        further = replace(trial, below=step.below, stage=step.stage, since=self._clock()) if step is not None else None
        await self._replace(trial, further)

    async def _replace(self, trial: DefinitionTrial, further: DefinitionTrial | None) -> None:
        """Puts another stage in the place of this one; None: all edges take it in."""
        stored = await self._stored()
        former = self._bundle(stored) if stored is not None else None
        if former is None or former.trial != trial:
            # Another trainer has moved it; or somebody removed it, and what is in the folder is published again.
            self._on_trial = former.trial if former is not None else None
            self._published = self._published if former is not None else None
        elif further is None:
            await self._put(stored, DefinitionBundle(version=trial.version, number=0, files=trial.files), former)
        else:
            await self._put(stored, replace(former, trial=further), former)

    async def _put(self, stored: Stored | None, bundle: DefinitionBundle, former: DefinitionBundle | None) -> None:
        """Raises InvalidInput for more than edges take, Conflict, StoreUnavailable."""
        # By time, so that numbers grow even where the store was emptied.
        number = max(former.number + 1 if former else 1, int(self._clock() * 1000))
        body = sealed(replace(bundle, number=number), self._signer)
        if len(body) > LIMIT:
            raise InvalidInput(f"found {len(body)} bytes of definitions, expected at most {LIMIT}")
        await self._store.put(KEY, body, if_absent=stored is None, if_match=stored.etag if stored else None)
        self._on_trial = bundle.trial
        extra = {"version": bundle.version, "files": len(bundle.files)}
        if bundle.trial is not None:
            extra |= {"trial": bundle.trial.version, "stage": self._stages.name(bundle.trial.stage)}
        log.info("definitions published", extra=extra)

    async def _stored(self) -> Stored | None:
        try:
            return await self._store.get(KEY, limit=LIMIT)
        except NotFound:
            return None

    def _bundle(self, stored: Stored) -> DefinitionBundle | None:
        """What lies there; None for what no trainer signed."""
        try:
            return opened(stored.body, DefinitionBundle, self._trust)
        except InvalidInput:
            return None


def _read(folder: Path) -> dict[str, str]:
    """None at all while one of them can't be read."""
    try:
        return read_files(folder)
    except (OSError, UnicodeDecodeError) as error:
        log.warning("the definitions are not published: %s", error)
        return {}
