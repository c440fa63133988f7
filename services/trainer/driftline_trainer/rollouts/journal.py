"""Notes what happens to roll-outs: in their stories, in the log and in the metrics."""

import logging
from collections.abc import Callable, Mapping

from driftline.fleet.quarantine import quarantine_of
from driftline.metrics import Metrics
from driftline.models.signing import Trust
from driftline.store.port import Store
from driftline_trainer.rollouts.pointers import Pointed
from driftline_trainer.rollouts.stories import EVIDENCE, OUTCOMES, Act, Outcome, RolloutEvent, Stories, StoryState

log = logging.getLogger(__name__)

ENDED: Mapping[Act, Outcome] = {outcome: outcome for outcome in OUTCOMES}


class RolloutJournal:
    """trust: whose quarantines count."""

    def __init__(self, store: Store, metrics: Metrics, trust: Trust, clock: Callable[[], float]) -> None:
        self._store = store
        self._metrics = metrics
        self._trust = trust
        self._clock = clock
        self.stories = Stories(store)
        # Trials whose end is not noted yet, by model.
        self._running: dict[tuple[str, str], str] = {}

    async def note_changes(self, at: Pointed) -> None:
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
        mark = await quarantine_of(self._store, *at.model, version, self._trust)
        if mark is not None:
            await self.note(at, version, "stopped", mark.reason, EVIDENCE)
        elif version == at.pointer.version:
            await self.note(at, version, "done", "all edges run it", EVIDENCE)
        else:
            await self.note(at, version, "superseded", f"{at.newest} was published", EVIDENCE)

    async def note(
        self, at: Pointed, version: str, act: Act, why: str, by: str, *, stage: str = "", paused: bool = False
    ) -> None:
        """Unless another trainer has noted that end. paused: whether it is, unless this is its end."""
        state: StoryState = ENDED.get(act, "paused" if paused else "running")
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


def _extra(at: Pointed, version: str) -> dict[str, str]:
    return {"stream": at.stream.name, "member": at.member, "version": version}
