"""Which version of every model serves, and which one served before: what the step reads and the reconciler changes.

The step's two mappings are replaced by one assignment each, so a batch ends on the models that it began with.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from driftline.errors import EDGE_REFUSALS, Conflict, InvalidInput, NotFound, RefusedModel
from driftline.members import MODELS
from driftline.metrics import Metrics, from_zero
from driftline.models import manifest as manifests
from driftline.models.manifest import Quarantine, UsualValues
from driftline.streams.catalog import PerStream, Streams
from driftline.streams.definition import StreamDefinition
from driftline_inference.registry.state import CAUSES, Cause, ModelName, ModelState
from driftline_inference.registry.versions import LoadedModel

log = logging.getLogger(__name__)


class Registry:
    """The models of all streams. wake: called when there is something to write down: see `take_rolled_back`. on_news:
    called when another version serves, or one was refused."""

    def __init__(
        self,
        streams: Mapping[str, StreamDefinition],
        metrics: Metrics,
        *,
        wake: Callable[[], None] = lambda: None,
        on_news: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._metrics = metrics
        self._wake = wake
        self._on_news = on_news
        self._clock = clock
        self._states = PerStream(streams, _states_of)
        self._serving: Mapping[ModelName, LoadedModel] = {}
        self._shadows: Mapping[ModelName, LoadedModel] = {}
        self._changed: set[ModelName] = set()
        self._rolled_back: list[tuple[ModelName, Quarantine]] = []
        Streams.of(streams).on_every(self._from_zero)

    def _from_zero(self, stream: StreamDefinition) -> None:
        from_zero(self._metrics.models_refused, (stream.name,), MODELS, EDGE_REFUSALS)
        from_zero(self._metrics.model_swaps, (stream.name,), MODELS, CAUSES)

    def serving(self) -> Mapping[ModelName, LoadedModel]:
        """The models that serve now, by (stream, member)."""
        return self._serving

    def shadows(self) -> Mapping[ModelName, LoadedModel]:
        """The versions that served before those that serve now, where they may take over again."""
        return self._shadows

    def usual(self, stream: str) -> Mapping[str, UsualValues]:
        """What was usual of a stream's columns in the records that its models have learned from, by column."""
        serving = (self._serving.get((stream, member)) for member in MODELS)
        return next((model.manifest.usual for model in serving if model is not None and model.manifest.usual), {})

    def states(self) -> list[ModelState]:
        return [state for members in self._states.values() for state in members.values()]

    def state(self, stream: str, member: str) -> ModelState:
        """Raises NotFound."""
        if stream not in self._states or member not in MODELS:
            known = sorted(".".join(state.name) for state in self.states())
            raise NotFound(f"found no model {stream}.{member}, expected one of {known}")
        return self._states[stream][member]

    def swap(
        self, state: ModelState, model: LoadedModel, cause: Cause, why: str, *, former: LoadedModel | None
    ) -> None:
        """`model` serves from the next batch on. former: see `ModelState.swap`."""
        if state.version is not None:
            self._metrics.model_info.remove(*state.name, state.version)
        state.swap(model, why, self._clock(), former=former)
        self.changed(state)
        self._metrics.model_swaps.labels(*state.name, cause).inc()
        self._metrics.model_info.labels(*state.name, model.version).set(1)
        created = datetime.fromisoformat(model.manifest.created).timestamp()
        self._metrics.model_created.labels(*state.name).set(created)
        extra = {"stream": state.stream.name, "member": state.member, "version": model.version, "why": why}
        log.info("model swapped in", extra=extra)

    def refuse(self, state: ModelState, version: str, error: RefusedModel) -> None:
        """Remembers why `version` may not serve."""
        version = manifests.shown(version)
        if state.remember(version, str(error)):
            self._metrics.models_refused.labels(*state.name, error.reason).inc()
            extra = {"stream": state.stream.name, "member": state.member, "version": version}
            log.warning("model refused", extra=extra, exc_info=error)
            self._on_news()

    def roll_back(self, stream: str, member: str, version: str, reason: str) -> None:
        """Goes back from `version` to the one before, at once. The mark that keeps it from coming back to this edge is
        written by the next reconcile. Twice is once.

        Raises NotFound, InvalidInput when another version serves, Conflict when there is none to go back to.
        """
        state = self.state(stream, member)
        if state.serving is None:
            raise NotFound(f"found no model {stream}.{member} that serves, expected one")
        if version in state.refused:
            return
        if state.version != version:
            raise InvalidInput(
                f"found version {manifests.shown(version)!r}, expected the serving one, {state.version!r}"
            )
        if state.former is None:
            raise Conflict(f"found no former version of {stream}.{member}, expected one to go back to")
        state.pinned = False
        self.refuse(state, version, RefusedModel("quarantine", reason))
        state.remember_rollback(version, reason)
        self._rolled_back.append((state.name, Quarantine(version, reason, self._clock(), stream, member)))
        # It was refused: nothing may go back to it.
        self.swap(state, state.former, "rollback", f"{version} was left: {reason}", former=None)
        self._wake()

    def changed(self, state: ModelState) -> None:
        """Renews what the step reads and what this edge reports to others."""
        states = self.states()
        self._serving = {model.name: model.serving for model in states if model.serving}
        self._shadows = {model.name: model.former for model in states if model.former and not model.pinned}
        self._changed.add(state.name)
        self._on_news()

    def take_rolled_back(self) -> list[tuple[ModelName, Quarantine]]:
        """The rollbacks since the last call: each is to be written down."""
        taken, self._rolled_back = self._rolled_back, []
        return taken

    def take_changed(self) -> list[ModelState]:
        """The models that serve another version, or were pinned or released, since the last call."""
        taken, self._changed = self._changed, set()
        return [self.state(*name) for name in taken]


def _states_of(stream: StreamDefinition) -> dict[str, ModelState]:
    return {member: ModelState(stream, member) for member in MODELS}
