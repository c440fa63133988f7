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
from driftline.fleet.rollout import begins_later, rank, stage_after, topped_up
from driftline.members import MODELS
from driftline.metrics import Metrics, from_zero
from driftline.models import manifest as manifests
from driftline.models.manifest import Pointer, Quarantine, Trial
from driftline.models.signing import Signer
from driftline.stoppable import until_set
from driftline.store.port import Store
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline_trainer.rollouts import standing as standings
from driftline_trainer.rollouts.journal import RolloutJournal
from driftline_trainer.rollouts.pointers import Pointed, Pointers
from driftline_trainer.rollouts.standing import RolloutStanding
from driftline_trainer.rollouts.stories import EVIDENCE, OUTCOMES, Act, Stories
from driftline_trainer.trust import own_trust

log = logging.getLogger(__name__)


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
        self._pointers = Pointers(store)
        self._journal = RolloutJournal(store, metrics, self._trust, clock)
        self._standing: dict[tuple[str, str], RolloutStanding] = {}
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
            at = await self._pointers.read(stream, member)
            if at is not None:
                await self._journal.note_changes(at)
                trial = at.pointer.trial
                if not await self._is_taken_back(at):
                    await (self._try(at, trial, heartbeats) if trial else self._watch(at, heartbeats))
                self._show(self._pointers[at.model])
        except Conflict:
            log.info("another trainer moved it first", extra={"stream": stream.name, "member": member})
        except (RefusedModel, TooLarge) as error:
            log.warning("no roll-out: %s", error, extra={"stream": stream.name, "member": member})

    async def _is_taken_back(self, at: Pointed) -> bool:
        """Points back from a version that is kept from all edges already: whoever said so died before the pointer
        moved, or it was moved meanwhile. A hand does not say it again, as edges do."""
        trial = at.pointer.trial
        if self._not_taken_back.get(at.model) == at.etag:
            return False
        version = at.newest
        mark = await quarantine_of(self._store, *at.model, version, self._trust)
        back = await self._back(at) if mark is not None else None
        if mark is None or back is None:
            if trial is None:
                self._not_taken_back[at.model] = at.etag
            return False
        await self._pointers.move(at, back)
        await self._journal.note(at, version, "stopped", mark.reason, EVIDENCE)
        return True

    async def _try(self, at: Pointed, trial: Trial, heartbeats: Mapping[str, Heartbeat]) -> None:
        """Moves the trial, if its edges allow it."""
        now = self._clock()
        if begins_later(trial.since, now):
            trial = replace(trial, since=now)
            at = await self._pointers.move(at, replace(at.pointer, trial=trial))
        ranks = self._ranks(at, trial, heartbeats)
        standing = standings.of_trial(at.stream.rollout, at.pointer, trial, at.model, heartbeats, ranks, now)
        self._standing[at.model] = standing
        if standing.verdict == "worse":
            await self._take_back(at, trial.version, standing.why, EVIDENCE, "stopped")
        elif standing.verdict == "passed":
            await self._advance(at, trial, list(ranks.values()), standing.why, EVIDENCE)
        elif (below := _topped_up(at, trial, ranks)) > trial.below and not trial.paused:
            # Edges of the stage went silent, or others came: it has its number of edges again.
            await self._pointers.move(at, replace(at.pointer, trial=replace(trial, below=below)))

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
            await self._pointers.move(at, Pointer(trial.version, former=at.pointer.version, since=now))
            await self._journal.note(at, trial.version, "done", why, by, stage="100%")
            return
        further = replace(trial, below=step.below, stage=step.stage, entered=trial.below, since=self._clock())
        await self._pointers.move(at, replace(at.pointer, trial=further))
        await self._journal.note(at, trial.version, "advanced", why, by, stage=at.stage(further), paused=further.paused)

    async def _take_back(self, at: Pointed, version: str, why: str, by: str, act: Act) -> None:
        """Keeps a version from all edges, and points back. The word comes first: after a crash between both the next
        look goes on, since the edges still say the same."""
        mark = Quarantine(version, why, self._clock(), *at.model)
        await quarantine(self._store, mark, self._signer)
        self._kept_out.add((*at.model, version))
        back = await self._back(at)
        if back is not None:
            await self._pointers.move(at, back)
        await self._journal.note(at, version, act, why, by)

    async def _back(self, at: Pointed) -> Pointer | None:
        """What is pointed at in the place of a version that is taken back; None where there is nothing."""
        if at.pointer.trial is not None:
            return replace(at.pointer, trial=None)
        former = at.pointer.former
        if former is None or await self._is_kept_out(at, former):
            return None
        return Pointer(former, since=self._clock())

    def _show(self, at: Pointed) -> None:
        trial = at.pointer.trial
        self._metrics.rollout_stage.labels(*at.model).set(trial.stage + 1 if trial else 0)
        self._metrics.rollout_paused.labels(*at.model).set(trial is not None and trial.paused)
        standing = self._standing.get(at.model)
        undecided = trial is not None and standing is not None and standing.undecided
        self._metrics.rollout_undecided.labels(*at.model).set(undecided)

    @property
    def stories(self) -> Stories:
        return self._journal.stories

    def models(self) -> list[Pointed]:
        """Those that have a version, as they were seen last."""
        return self._pointers.all()

    def standing(self, at: Pointed) -> RolloutStanding | None:
        return self._standing.get(at.model)

    async def find(self, stream: str, member: str) -> Pointed:
        """Raises NotFound, RefusedModel, StoreUnavailable."""
        if stream not in self._streams or member not in MODELS:
            raise NotFound(f"found no model {stream}.{member}, expected a stream of {sorted(self._streams)}")
        at = await self._pointers.read(self._streams[stream], member)
        if at is None:
            raise NotFound(f"found no version of {stream}.{member}, expected one")
        return at

    async def advance(self, stream: str, member: str, hand: Hand) -> None:
        """To the next stage, whatever the edges say; a paused one is paused there, too. Raises NotFound, Conflict,
        StoreUnavailable."""
        async with self._one_at_a_time:
            heartbeats = await self._fleet.look()
            at, trial = await self._on_trial(stream, member, hand)
            await self._advance(at, trial, list(self._ranks(at, trial, heartbeats).values()), hand.why, hand.by)
            self._show(self._pointers[at.model])

    async def pause(self, stream: str, member: str, hand: Hand) -> None:
        """No further stage until it is resumed; a version that turns out to be worse is still stopped."""
        await self._hold(stream, member, hand, paused=True)

    async def resume(self, stream: str, member: str, hand: Hand) -> None:
        await self._hold(stream, member, hand, paused=False)

    async def _hold(self, stream: str, member: str, hand: Hand, *, paused: bool) -> None:
        async with self._one_at_a_time:
            at, trial = await self._on_trial(stream, member, hand)
            if trial.paused is not paused:
                await self._pointers.move(at, replace(at.pointer, trial=replace(trial, paused=paused)))
                act: Act = "paused" if paused else "resumed"
                await self._journal.note(at, trial.version, act, hand.why, hand.by, paused=paused)
                self._show(self._pointers[at.model])

    async def abort(self, stream: str, member: str, hand: Hand) -> None:
        """Takes back the version on trial, or, without one, the version for all: no edge serves it again."""
        async with self._one_at_a_time:
            at = await self.find(stream, member)
            trial = at.pointer.trial
            version = at.newest
            _check(at, hand, version)
            if trial is None and await self._back(at) is None:
                raise Conflict(f"found no version of {stream}.{member} before {version}, expected one to go back to")
            await self._journal.note_changes(at)
            await self._take_back(at, version, hand.why, hand.by, "aborted")
            self._show(self._pointers[at.model])

    async def _on_trial(self, stream: str, member: str, hand: Hand) -> tuple[Pointed, Trial]:
        at = await self.find(stream, member)
        if at.pointer.trial is None:
            raise Conflict(f"found no roll-out of {stream}.{member} that runs; all edges run {at.pointer.version}")
        _check(at, hand, at.pointer.trial.version)
        await self._journal.note_changes(at)
        return at, at.pointer.trial


def _topped_up(at: Pointed, trial: Trial, ranks: Mapping[str, float]) -> float:
    return topped_up(at.stages, trial.stage, trial.below, list(ranks.values()))


def _check(at: Pointed, hand: Hand, version: str) -> None:
    """Raises Conflict where somebody means another version than the one that would be moved."""
    if hand.version not in {None, version}:
        given = manifests.shown(hand.version or "")
        raise Conflict(
            f"found version {given!r} of {'.'.join(at.model)}, expected the one that would be moved: {version}"
        )
