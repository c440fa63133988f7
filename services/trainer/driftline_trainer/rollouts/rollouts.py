"""Moves roll-outs: forward stage by stage, and back. One conditional put of the pointer is each move; of two trainers
one makes it, and the other sees it at its next look."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from driftline.errors import Conflict, NotFound, RefusedModel, StoreUnavailable, TooLarge
from driftline.fleet.heartbeat import Heartbeat
from driftline.fleet.quarantine import quarantine, quarantine_of
from driftline.fleet.reading import FleetView, counted_on
from driftline.fleet.rollout import rank, stage_after, topped_up
from driftline.members import MODELS
from driftline.metrics import Metrics, from_zero
from driftline.models import manifest as manifests
from driftline.models.manifest import Pointer, Quarantine, Trial
from driftline.models.signing import Signer, Trust
from driftline.stoppable import until_set
from driftline.store.port import Store
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline.versions.files import POINTER_LIMIT
from driftline_trainer.rollouts import standing as standings
from driftline_trainer.rollouts.standing import RolloutStanding
from driftline_trainer.rollouts.stories import EVIDENCE, OUTCOMES, Act, Outcome, RolloutEvent, Stories, StoryState

log = logging.getLogger(__name__)

ENDED: Mapping[Act, Outcome] = {outcome: outcome for outcome in OUTCOMES}
CLOCKS_DIFFER_S = 60.0
"""By so much the clocks of two trainers may differ; a stage that began later than that in the future began by a wrong
one, and would last for as long as that was ahead."""


@dataclass(frozen=True)
class Pointed:
    """A model's pointer as it was read. etag: for the next move."""

    stream: StreamDefinition
    member: str
    pointer: Pointer
    etag: str

    @property
    def model(self) -> tuple[str, str]:
        return self.stream.name, self.member

    @property
    def stages(self) -> tuple[str, ...]:
        return self.stream.rollout.stages_of(self.member)

    def stage(self, trial: Trial) -> str:
        """Its name, also where the definition has fewer stages by now."""
        return self.stages[min(trial.stage, len(self.stages) - 1)]


@dataclass(frozen=True)
class Hand:
    """Whose hand moves a roll-out, and why. version: which one is meant; None for the one that is on trial."""

    by: str
    why: str
    version: str | None = None


class Rollouts:
    """See `driftline.service.app.BackgroundJob`. poll: seconds between two looks at the edges' heartbeats."""

    name = "roll-outs"

    def __init__(
        self,
        store: Store,
        streams: Mapping[str, StreamDefinition],
        fleet: FleetView,
        metrics: Metrics,
        *,
        signer: Signer | None,
        poll: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._streams = Streams.of(streams)
        self._fleet = fleet
        self._metrics = metrics
        self._signer = signer
        self._trust = own_trust(signer)
        self._poll = poll
        self._clock = clock
        self.stories = Stories(store)
        self._pointed: dict[tuple[str, str], Pointed] = {}
        self._standing: dict[tuple[str, str], RolloutStanding] = {}
        # Trials whose end is not noted yet, by model.
        self._running: dict[tuple[str, str], str] = {}
        self._kept_out: set[tuple[str, str, str]] = set()
        # Pointers without a trial at which nothing was to be taken back, by their etags.
        self._not_taken_back: dict[tuple[str, str], str] = {}
        self._one_at_a_time = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._streams.on_every(self._from_zero)

    def _from_zero(self, stream: StreamDefinition) -> None:
        from_zero(self._metrics.rollouts_ended, (stream.name,), MODELS, OUTCOMES)

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("roll-outs stay as they are until the store is back: %s", error)
            await until_set(self._stopping, self._poll)

    async def stop(self) -> None:
        self._stopping.set()

    async def look(self) -> None:
        """Moves every roll-out as far as what its edges say allows. Raises StoreUnavailable."""
        async with self._one_at_a_time:
            heartbeats = await self._fleet.look()
            for stream in list(self._streams.values()):
                for member in MODELS:
                    await self._look_at(stream, member, heartbeats)

    async def _look_at(self, stream: StreamDefinition, member: str, heartbeats: Mapping[str, Heartbeat]) -> None:
        try:
            at = await self._read(stream, member)
            if at is not None:
                await self._note_changes(at)
                trial = at.pointer.trial
                if not await self._is_taken_back(at):
                    await (self._try(at, trial, heartbeats) if trial else self._watch(at, heartbeats))
                self._show(self._pointed[at.model])
        except Conflict:
            log.info("another trainer moved it first", extra={"stream": stream.name, "member": member})
        except (RefusedModel, TooLarge) as error:
            log.warning("no roll-out: %s", error, extra={"stream": stream.name, "member": member})

    async def _read(self, stream: StreamDefinition, member: str) -> Pointed | None:
        """Raises RefusedModel, TooLarge."""
        known = self._pointed.get((stream.name, member))
        key = manifests.pointer_key(stream.name, member)
        try:
            stored = await self._store.get(key, unless=known.etag if known else None, limit=POINTER_LIMIT)
        except NotFound:
            return None
        if stored is None:
            return known
        pointer = manifests.decode(stored.body, Pointer, "pointer")
        at = self._pointed[stream.name, member] = Pointed(stream, member, pointer, stored.etag)
        return at

    async def _note_changes(self, at: Pointed) -> None:
        """Notes a trial that begins, and the end of one that was not noted: it gave way to a newer version, or the
        trainer that ended it died before it could say so."""
        trial = at.pointer.trial
        version = trial.version if trial else ""
        if self._running.get(at.model) == version:
            return
        for story in await self.stories.of(*at.model):
            if story.state in {"running", "paused"} and story.version != version:
                await self._note_end(at, story.version)
        if trial is not None:
            why = f"tried by {at.stage(trial)} of the edges first; all others run {at.pointer.version}"
            event = RolloutEvent(self._clock(), "began", why, stage=at.stage(trial))
            if await self.stories.begin(*at.model, trial.version, at.pointer.version, event):
                log.info("roll-out began: %s", why, extra=_extra(at, trial.version))
        self._running[at.model] = version

    async def _note_end(self, at: Pointed, version: str) -> None:
        trial = at.pointer.trial
        mark = await quarantine_of(self._store, *at.model, version, self._trust)
        if mark is not None:
            await self._note(at, version, "stopped", mark.reason, EVIDENCE)
        elif version == at.pointer.version:
            await self._note(at, version, "done", "all edges run it", EVIDENCE)
        else:
            newer = trial.version if trial else at.pointer.version
            await self._note(at, version, "superseded", f"{newer} was published", EVIDENCE)

    async def _is_taken_back(self, at: Pointed) -> bool:
        """Points back from a version that is kept from all edges already: whoever said so died before the pointer
        moved, or it was moved meanwhile. A hand does not say it again, as edges do."""
        trial = at.pointer.trial
        if self._not_taken_back.get(at.model) == at.etag:
            return False
        version = trial.version if trial else at.pointer.version
        mark = await quarantine_of(self._store, *at.model, version, self._trust)
        back = await self._back(at) if mark is not None else None
        if mark is None or back is None:
            if trial is None:
                self._not_taken_back[at.model] = at.etag
            return False
        await self._move(at, back)
        await self._note(at, version, "stopped", mark.reason, EVIDENCE)
        return True

    async def _try(self, at: Pointed, trial: Trial, heartbeats: Mapping[str, Heartbeat]) -> None:
        """Moves the trial, if its edges allow it."""
        now = self._clock()
        if trial.since > now + CLOCKS_DIFFER_S:
            trial = replace(trial, since=now)
            await self._move(at, replace(at.pointer, trial=trial))
            at = self._pointed[at.model]
        ranks = self._ranks(at, trial, heartbeats)
        standing = standings.of_trial(at.stream.rollout, at.pointer, trial, at.model, heartbeats, ranks, now)
        self._standing[at.model] = standing
        if standing.verdict == "worse":
            await self._take_back(at, trial.version, standing.why, EVIDENCE, "stopped")
        elif standing.verdict == "passed":
            await self._advance(at, trial, list(ranks.values()), standing.why, EVIDENCE)
        elif (below := _topped_up(at, trial, ranks)) > trial.below and not trial.paused:
            # Edges of the stage went silent, or others came: it has its number of edges again.
            await self._move(at, replace(at.pointer, trial=replace(trial, below=below)))

    def _ranks(self, at: Pointed, trial: Trial, heartbeats: Mapping[str, Heartbeat]) -> dict[str, float]:
        edges = counted_on(self._fleet, heartbeats, *at.model)
        return {edge: rank(edge, trial.version, labels, trial.first) for edge, labels in edges.items()}

    async def _watch(self, at: Pointed, heartbeats: Mapping[str, Heartbeat]) -> None:
        """What runs everywhere may still turn out to be worse."""
        version = at.pointer.version
        self._standing[at.model] = standing = standings.of_all(at.pointer, at.model, heartbeats)
        if standing.verdict == "worse" and not await self._is_kept_out(at, version):
            await self._take_back(at, version, standing.why, EVIDENCE, "stopped")

    async def _is_kept_out(self, at: Pointed, version: str) -> bool:
        if (*at.model, version) not in self._kept_out:
            if await quarantine_of(self._store, *at.model, version, self._trust) is None:
                return False
            self._kept_out.add((*at.model, version))
        return True

    async def _advance(self, at: Pointed, trial: Trial, ranks: list[float], why: str, by: str) -> None:
        """To the next stage that has more edges, or to all."""
        step = stage_after(at.stages, trial.stage, ranks, trial.below)
        if step is None:
            now = self._clock()
            await self._move(at, Pointer(trial.version, former=at.pointer.version, since=now))
            await self._note(at, trial.version, "done", why, by, stage="100%")
            return
        further = Trial(trial.version, step.below, trial.first, step.stage, entered=trial.below, since=self._clock())
        await self._move(at, replace(at.pointer, trial=further))
        await self._note(at, trial.version, "advanced", why, by, stage=at.stage(further))

    async def _take_back(self, at: Pointed, version: str, why: str, by: str, act: Act) -> None:
        """Keeps a version from all edges, and points back. The word comes first: after a crash between both the next
        look goes on, since the edges still say the same."""
        mark = Quarantine(version, why, self._clock(), *at.model)
        await quarantine(self._store, mark, self._signer)
        self._kept_out.add((*at.model, version))
        back = await self._back(at)
        if back is not None:
            await self._move(at, back)
        await self._note(at, version, act, why, by)

    async def _back(self, at: Pointed) -> Pointer | None:
        """What is pointed at in the place of a version that is taken back; None where there is nothing."""
        if at.pointer.trial is not None:
            return replace(at.pointer, trial=None)
        former = at.pointer.former
        if former is None or await self._is_kept_out(at, former):
            return None
        return Pointer(former, since=self._clock())

    async def _move(self, at: Pointed, pointer: Pointer) -> None:
        """Raises Conflict when somebody else has moved it."""
        key = manifests.pointer_key(*at.model)
        etag = await self._store.put(key, manifests.encode(pointer), if_match=at.etag)
        self._pointed[at.model] = Pointed(at.stream, at.member, pointer, etag)

    async def _note(self, at: Pointed, version: str, act: Act, why: str, by: str, *, stage: str = "") -> None:
        """In the story, the log and the metrics, unless another trainer has noted that end."""
        state: StoryState = ENDED.get(act, "paused" if act == "paused" else "running")
        event = RolloutEvent(self._clock(), act, why, by, stage)
        former = at.pointer.version if at.pointer.version != version else at.pointer.former
        is_new = await self.stories.note(*at.model, version, former, state=state, event=event)
        outcome = ENDED.get(act)
        if outcome is not None:
            self._running[at.model] = ""
        if is_new:
            level = logging.WARNING if act in {"stopped", "aborted"} else logging.INFO
            log.log(level, "roll-out %s: %s", act, why, extra=_extra(at, version) | {"by": by, "stage": stage})
        if is_new and outcome is not None:
            self._metrics.rollouts_ended.labels(*at.model, outcome).inc()

    def _show(self, at: Pointed) -> None:
        trial = at.pointer.trial
        self._metrics.rollout_stage.labels(*at.model).set(trial.stage + 1 if trial else 0)
        self._metrics.rollout_paused.labels(*at.model).set(trial is not None and trial.paused)

    def models(self) -> list[Pointed]:
        """Those that have a version, as they were seen last."""
        return [self._pointed[name] for name in sorted(self._pointed)]

    def standing(self, at: Pointed) -> RolloutStanding | None:
        return self._standing.get(at.model)

    async def find(self, stream: str, member: str) -> Pointed:
        """Raises NotFound, RefusedModel, StoreUnavailable."""
        if stream not in self._streams or member not in MODELS:
            raise NotFound(f"found no model {stream}.{member}, expected a stream of {sorted(self._streams)}")
        at = await self._read(self._streams[stream], member)
        if at is None:
            raise NotFound(f"found no version of {stream}.{member}, expected one")
        return at

    async def advance(self, stream: str, member: str, hand: Hand) -> None:
        """To the next stage, whatever the edges say. Raises NotFound, Conflict, StoreUnavailable."""
        async with self._one_at_a_time:
            heartbeats = await self._fleet.look()
            at, trial = await self._on_trial(stream, member, hand)
            await self._advance(at, trial, list(self._ranks(at, trial, heartbeats).values()), hand.why, hand.by)
            self._show(self._pointed[at.model])

    async def pause(self, stream: str, member: str, hand: Hand) -> None:
        """No further stage until it is resumed; a version that turns out to be worse is still stopped."""
        await self._hold(stream, member, hand, paused=True)

    async def resume(self, stream: str, member: str, hand: Hand) -> None:
        await self._hold(stream, member, hand, paused=False)

    async def _hold(self, stream: str, member: str, hand: Hand, *, paused: bool) -> None:
        async with self._one_at_a_time:
            at, trial = await self._on_trial(stream, member, hand)
            if trial.paused is not paused:
                await self._move(at, replace(at.pointer, trial=replace(trial, paused=paused)))
                await self._note(at, trial.version, "paused" if paused else "resumed", hand.why, hand.by)
                self._show(self._pointed[at.model])

    async def abort(self, stream: str, member: str, hand: Hand) -> None:
        """Takes back the version on trial, or, without one, the version for all: no edge serves it again."""
        async with self._one_at_a_time:
            at = await self.find(stream, member)
            trial = at.pointer.trial
            version = trial.version if trial else at.pointer.version
            _check(at, hand, version)
            if trial is None and await self._back(at) is None:
                raise Conflict(f"found no version of {stream}.{member} before {version}, expected one to go back to")
            await self._note_changes(at)
            await self._take_back(at, version, hand.why, hand.by, "aborted")
            self._show(self._pointed[at.model])

    async def _on_trial(self, stream: str, member: str, hand: Hand) -> tuple[Pointed, Trial]:
        at = await self.find(stream, member)
        if at.pointer.trial is None:
            raise Conflict(f"found no roll-out of {stream}.{member} that runs; all edges run {at.pointer.version}")
        _check(at, hand, at.pointer.trial.version)
        await self._note_changes(at)
        return at, at.pointer.trial


def _extra(at: Pointed, version: str) -> dict[str, str]:
    return {"stream": at.stream.name, "member": at.member, "version": version}


def _topped_up(at: Pointed, trial: Trial, ranks: Mapping[str, float]) -> float:
    return topped_up(at.stages, trial.stage, trial.below, list(ranks.values()))


def own_trust(signer: Signer | None) -> Trust:
    """Whose quarantines count at a trainer: its own, or everybody's where it signs nothing."""
    return Trust([signer.public]) if signer is not None else Trust(unsigned=True)


def _check(at: Pointed, hand: Hand, version: str) -> None:
    """Raises Conflict where somebody means another version than the one that would be moved."""
    if hand.version not in {None, version}:
        given = manifests.shown(hand.version or "")
        raise Conflict(
            f"found version {given!r} of {'.'.join(at.model)}, expected the one that would be moved: {version}"
        )
