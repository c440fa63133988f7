"""Keeps the models at what the store's pointers name.

An event is a hint; the pointer and the manifest are the truth. A version is fetched, verified and loaded before it is
swapped in; a refused version is remembered, and the one that serves goes on.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping

from driftline.errors import InvalidInput, NotFound, RefusedModel, StoreUnavailable, TooLarge
from driftline.fleet.rollout import is_in
from driftline.models import manifest as manifests
from driftline.models.manifest import Pointer, Trial, Usage
from driftline.store.hints import Keys
from driftline.store.port import Store
from driftline.versions.files import POINTER_LIMIT
from driftline_inference.registry.cache import Cache
from driftline_inference.registry.outbox import StoreOutbox
from driftline_inference.registry.registry import Registry
from driftline_inference.registry.state import Cause, ModelName, ModelState
from driftline_inference.registry.versions import Fetched, Fetcher, LoadedModel

log = logging.getLogger(__name__)

POINTED = "named by the store's pointer"
UNKNOWN = "unknown"
"""What a pointer names that can't be read."""
FALL_BACKS = 5
"""Older versions that are tried at most where nothing serves and the pointer's version may not."""


class Reconciler:
    """Changes what `registry` serves. outbox: where this edge's notes wait for disk and store. edge_name: what people
    call this edge; labels: its own, by which roll-outs choose it."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        fetcher: Fetcher,
        outbox: StoreOutbox,
        *,
        cache: Cache | None = None,
        edge_name: str = "edge",
        labels: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._store = store
        self._fetcher = fetcher
        self._outbox = outbox
        self._cache = cache
        self._edge_name = edge_name
        self._labels = dict(labels or {})
        self._clock = clock
        self._restored: set[ModelName] = set()
        # A rollback by hand must not meet a pointer that is being followed.
        self._reconciling = asyncio.Lock()
        if fetcher.trust.believes_nobody:
            log.warning("found no trusted keys: every model will be refused, the built-in members forecast alone")

    async def restore(self) -> None:
        """Serves what served when this edge was last up, as far as its disk has it: needed before the first record is
        forecast, so that who was killed goes on as if nothing had been."""
        try:
            async with self._reconciling:
                await self._restore()
        except StoreUnavailable as error:
            log.warning("nothing restored from this edge's disk: %s", error)

    async def reconcile(self, keys: Keys = None) -> None:
        """Brings every model whose pointer is among `keys`, or every one, to the version that its pointer names.

        Raises StoreUnavailable.
        """
        async with self._reconciling:
            await self._restore()
            if self._cache is not None and keys is None:
                await self._cache.catch_up()
            for state in self._registry.states():
                if keys is None or manifests.pointer_key(*state.name) in keys:
                    await self._follow(state)
            await self._note()
            if keys is None:
                # After a swap by event it can wait for the next poll, so that the stream is held up less.
                await self._outbox.catch_up()

    async def roll_back(self, stream: str, member: str, version: str, reason: str) -> None:
        """See `Registry.roll_back`; returns when the notes are on this edge's disk, and in the store if it answers."""
        async with self._reconciling:
            self._registry.roll_back(stream, member, version, reason)
            await self._note()
            await self._outbox.catch_up()

    async def pin(self, stream: str, member: str, version: str | None) -> None:
        """Stays on `version` wherever the pointer goes; None follows the pointer again. Twice is once.

        Raises NotFound, StoreUnavailable, InvalidInput for a version that may not serve.
        """
        async with self._reconciling:
            state = self._registry.state(stream, member)
            if version is not None and not manifests.is_version(version):
                raise NotFound(f"found no version {manifests.shown(version)!r} of {stream}.{member}, expected one")
            if version is not None and state.version != version:
                try:
                    await self._adopt(state, version, "pin", "pinned by hand", lambda: state.serving)
                except RefusedModel as error:
                    raise InvalidInput(f"version {manifests.shown(version)} may not serve: {error}") from error
            state.pinned = version is not None
            # The pointer is read again, even where it has not changed.
            state.etag = None
            self._registry.changed(state)
            await self._note()
            await self._outbox.catch_up()

    async def _restore(self) -> None:
        """Once each, before the store is asked."""
        if self._cache is None:
            return
        for state in [state for state in self._registry.states() if state.name not in self._restored]:
            self._restored.add(state.name)
            usage = await self._cache.usage(*state.name)
            for mark in await self._outbox.rolled_back(*state.name):
                state.remember_rollback(mark.version, mark.reason)
            await self._restore_one(self._cache, state, usage)
            state.pinned = usage is not None and usage.version == state.version and usage.pinned
            self._registry.changed(state)

    async def _restore_one(self, cache: Cache, state: ModelState, usage: Usage | None) -> None:
        """What served, and what a rollback would go back to; the newest that is still whole if that has rotted."""
        cached = await cache.versions(*state.name)
        cached.sort(key=lambda version: usage is not None and version == usage.version, reverse=True)
        good: list[LoadedModel] = []
        for version in cached:
            try:
                await self._outbox.check(*state.name, version, store=False)
                good.append((await self._fetcher.fetch(cache.folder, state.stream, state.member, version)).model)
            except (NotFound, RefusedModel) as error:
                log.warning("cached model not used: %s", error, extra={"version": version})
        if not good:
            await cache.drop(*state.name)
            return
        former = good[1] if len(good) > 1 else None
        self._registry.swap(state, good[0], "restart", "restored from this edge's disk", former=former)

    async def _follow(self, state: ModelState) -> None:
        try:
            key = manifests.pointer_key(*state.name)
            pointer = await self._store.get(key, unless=state.etag, limit=POINTER_LIMIT)
        except NotFound:
            return
        except TooLarge as error:
            # Every look finds it again, which costs an answer without a body.
            await self._refuse_named(state, UNKNOWN, RefusedModel("pointer", str(error)))
            return
        if pointer is None:
            return
        version, named = UNKNOWN, None
        try:
            named = manifests.decode(pointer.body, Pointer, "pointer")
            trial = self._own_trial(named)
            version = trial.version if trial else named.version
            manifests.version_number(version)
            if trial is None and self._may_be_in(state, named):
                return
            state.named = version
            state.compare(self._clock())
            if state.version != version and not state.pinned:
                await (self._try_first(state, trial, named.version) if trial else self._follow_all(state, named))
        except RefusedModel as error:
            await self._refuse_named(state, version, error)
        except NotFound as error:
            # The pointer may be seen before what it points at: the next wake looks again.
            log.warning("model not there yet: %s", error, extra={"stream": state.stream.name, "version": version})
            return
        # Whether this edge is in a trial is known once its id is: then the pointer is looked at again.
        is_known = named is None or named.trial is None or self._outbox.edge_id() is not None
        state.etag = pointer.etag if is_known else None

    def _own_trial(self, pointer: Pointer) -> Trial | None:
        """The trial that this edge is in."""
        edge = self._outbox.edge_id()
        if pointer.trial is None or edge is None or not is_in(pointer.trial, edge, self._labels):
            return None
        return pointer.trial

    def _may_be_in(self, state: ModelState, pointer: Pointer) -> bool:
        """Whether this edge, which does not know its id yet, serves a version that is on trial: it stays there, and
        looks again once it does."""
        if pointer.trial is None or self._outbox.edge_id() is not None:
            return False
        return state.version == pointer.trial.version

    async def _follow_all(self, state: ModelState, pointer: Pointer) -> None:
        """Swaps in what all edges run. Raises RefusedModel, NotFound."""

        def rival() -> LoadedModel | None:
            # What was tried here and never ran everywhere is passed over.
            is_before = state.former is not None and state.former.version == pointer.former
            return state.former if is_before else state.serving

        version = pointer.version
        if state.version is None or manifests.version_number(version) > manifests.version_number(state.version):
            await self._adopt(state, version, "pointer", POINTED, rival)
            return
        # The newer one is no rival: the trainer took it back.
        why = f"the roll-out of {state.version} was stopped, or begins again with another version"
        await self._adopt(state, version, "rollout", why, _nobody)

    async def _try_first(self, state: ModelState, trial: Trial, for_all: str) -> None:
        """Swaps in what this edge tries before all others, which is compared with what those run. Raises RefusedModel,
        NotFound."""

        def rival() -> LoadedModel | None:
            known = [model for model in (state.serving, state.former) if model is not None]
            return next((model for model in known if model.version == for_all), None)

        if rival() is None:
            try:
                await self._adopt(state, for_all, "pointer", POINTED, _nobody)
            except RefusedModel as error:
                self._registry.refuse(state, for_all, error)
        why = f"tried on this edge: its roll-out has come to rank {trial.below:.3f} of 1"
        await self._adopt(state, trial.version, "rollout", why, rival)

    async def _refuse_named(self, state: ModelState, version: str, error: RefusedModel) -> None:
        """What the pointer names may not serve."""
        self._registry.refuse(state, version, error)
        if state.serving is None:
            await self._fall_back(state, version)

    async def _adopt(
        self, state: ModelState, version: str, cause: Cause, why: str, rival: Callable[[], LoadedModel | None]
    ) -> None:
        """Swaps a version in. rival: what it is compared with, and a rollback goes back to; asked at the swap, since
        this edge may go back from what serves while the new version is fetched. Raises RefusedModel, NotFound."""
        manifests.version_number(version)
        remembered = state.refused.get(version)
        if remembered is not None:
            raise RefusedModel("remembered", remembered)
        await self._outbox.check(*state.name, version)
        fetched = await self._fetcher.fetch(self._store, state.stream, state.member, version)
        self._registry.swap(state, fetched.model, cause, why, former=rival())
        await self._keep(state, fetched)

    async def _keep(self, state: ModelState, fetched: Fetched) -> None:
        if self._cache is not None:
            await self._cache.keep(*state.name, fetched)

    async def _fall_back(self, state: ModelState, named: str) -> None:
        """Where nothing serves, an older version that may is better than none."""
        listed = {version async for version in self._versions(state)}
        older = sorted((version for version in listed if version < named), reverse=True)
        for version in older[:FALL_BACKS]:
            try:
                why = f"the newest that may serve: {named} may not"
                await self._adopt(state, version, "fallback", why, _nobody)
            except RefusedModel as error:
                self._registry.refuse(state, version, error)
            except NotFound:
                continue
            else:
                return

    async def _versions(self, state: ModelState) -> AsyncIterator[str]:
        async for listed in self._store.list(f"{manifests.folder(*state.name)}/v"):
            version = listed.key.split("/")[3]
            if manifests.is_version(version):
                yield version

    async def _note(self) -> None:
        """Tells the disk what this edge rolled back and what it runs, and notes it for the store."""
        for name, quarantine in self._registry.take_rolled_back():
            await self._outbox.quarantine(*name, quarantine)
        for state in self._registry.take_changed():
            if state.serving is not None:
                await self._use(state, state.serving.version)

    async def _use(self, state: ModelState, version: str) -> None:
        former = state.former.version if state.former else None
        usage = Usage(self._outbox.edge_id() or "", version, former, state.pinned, self._clock(), self._edge_name)
        if self._cache is not None:
            await self._cache.use(*state.name, usage)
        self._outbox.use(*state.name, usage)


def _nobody() -> None:
    """A version that is compared with no other."""
