"""The models that serve, and the reconcile that keeps them at what the store's pointers say.

An event is a hint; the pointer and the manifest are the truth. A version is fetched, verified and loaded before one
assignment swaps it in; a refused version is remembered, and the former one goes on.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import datetime

from driftline.errors import EDGE_REFUSALS, Conflict, InvalidInput, NotFound, RefusedModel, StoreUnavailable, TooLarge
from driftline.members import MODELS
from driftline.metrics import Metrics, from_zero
from driftline.models import manifest as manifests
from driftline.models.manifest import Pointer, Quarantine, Usage
from driftline.store.hints import Keys
from driftline.store.port import Store
from driftline.streams.catalog import PerStream, Streams
from driftline.streams.definition import StreamDefinition
from driftline.versions.files import POINTER_LIMIT
from driftline_inference.registry.cache import Cache
from driftline_inference.registry.outbox import Marks
from driftline_inference.registry.standing import CAUSES, Cause, Name, Standing
from driftline_inference.registry.versions import Fetched, Fetcher, Live, LoadedModel
from driftline_inference.step import Serving

log = logging.getLogger(__name__)

UNKNOWN = "unknown"
"""What a pointer names that can't be read."""
FALL_BACKS = 5
"""Older versions that are tried at most where nothing serves and the pointer's version may not."""


class Models:
    """The models of all streams. `loaded` is read by the step, and only ever replaced as a whole."""

    def __init__(
        self,
        store: Store,
        streams: Mapping[str, StreamDefinition],
        metrics: Metrics,
        fetcher: Fetcher,
        cache: Cache | None = None,
        edge: str = "edge",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """edge: what people call the edge that notes what it runs."""
        self._store = store
        self._metrics = metrics
        self._fetcher = fetcher
        self._cache = cache
        self.edge = edge
        self._id: Callable[[], str | None] = lambda: None
        self._clock = clock
        self._marks = Marks(store, cache.folder if cache else None, self.edge_id)
        self._standings = PerStream(streams, _standings_of)
        self._restored: set[Name] = set()
        self._left: list[tuple[Name, Quarantine]] = []
        self._changed: set[Name] = set()
        self._reconciling = asyncio.Lock()
        self.loaded: Mapping[Name, LoadedModel] = {}
        self._shadows: Mapping[Name, LoadedModel] = {}
        Streams.of(streams).each(self._from_zero)
        if fetcher.trust.believes_nobody:
            log.warning("found no trusted keys: every model will be refused, the built-in members forecast alone")

    def _from_zero(self, stream: StreamDefinition) -> None:
        from_zero(self._metrics.models_refused, (stream.name,), MODELS, EDGE_REFUSALS)
        from_zero(self._metrics.model_swaps, (stream.name,), MODELS, CAUSES)

    def probe_with(self, live: Live) -> None:
        """A new model must be able to forecast from what `live` gives."""
        self._fetcher = replace(self._fetcher, live=live)

    def identify_by(self, edge_id: Callable[[], str | None]) -> None:
        """What this edge runs is noted under the id that it gives, once there is one."""
        self._id = edge_id

    def edge_id(self) -> str | None:
        """None as long as it is not known."""
        return self._id()

    def serving(self) -> Serving:
        return self.loaded

    def shadows(self) -> Serving:
        """The versions that served before those that serve now, where they may take over again."""
        return self._shadows

    def standing(self, stream: str, member: str) -> Standing:
        """Raises NotFound."""
        if stream not in self._standings or member not in MODELS:
            known = sorted(".".join(standing.name) for standing in self._all())
            raise NotFound(f"found no model {stream}.{member}, expected one of {known}")
        return self._standings[stream][member]

    def _all(self) -> list[Standing]:
        return [standing for members in self._standings.values() for standing in members.values()]

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
            for standing in self._all():
                if keys is None or manifests.pointer_key(*standing.name) in keys:
                    await self._follow(standing)
            await self._note()
            if keys is None:
                # After a swap by event it can wait for the next poll, so that the stream is held up less.
                await self._marks.catch_up()

    def leave(self, stream: str, member: str, version: str, reason: str) -> None:
        """Leaves `version` for the one before, at once. The marks that keep it from coming back are written by the next
        reconcile. Twice is once.

        Raises NotFound, InvalidInput when another version serves, Conflict when there is none to go back to.
        """
        standing = self.standing(stream, member)
        if standing.serving is None:
            raise NotFound(f"found no model {stream}.{member} that serves, expected one")
        if version in standing.refused:
            return
        if standing.version != version:
            found = manifests.shown(version)
            raise InvalidInput(f"found version {found!r}, expected the serving one, {standing.version!r}")
        if standing.former is None:
            raise Conflict(f"found no former version of {stream}.{member}, expected one to go back to")
        standing.pinned = False
        self._refuse(standing, version, RefusedModel("quarantine", reason))
        self._left.append((standing.name, Quarantine(version, reason, self._clock())))
        self._swap(standing, standing.former, "rollback", f"{version} was left: {reason}")
        standing.former = None
        self._show()

    async def rollback(self, stream: str, member: str, version: str, reason: str) -> None:
        """See `leave`; returns when the marks are on this edge's disk, and in the store if that answers."""
        async with self._reconciling:
            self.leave(stream, member, version, reason)
            await self._note()
            await self._marks.catch_up()

    async def pin(self, stream: str, member: str, version: str | None) -> None:
        """Stays on `version` wherever the pointer goes; None follows the pointer again. Twice is once.

        Raises NotFound, StoreUnavailable, InvalidInput for a version that may not serve.
        """
        async with self._reconciling:
            standing = self.standing(stream, member)
            if version is not None and not manifests.is_version(version):
                raise NotFound(f"found no version {manifests.shown(version)!r} of {stream}.{member}, expected one")
            if version is not None and standing.version != version:
                try:
                    await self._adopt(standing, version, "pin", "pinned by hand")
                except RefusedModel as error:
                    raise InvalidInput(f"version {manifests.shown(version)} may not serve: {error}") from error
            standing.pinned = version is not None
            standing.etag = None
            self._show()
            self._changed.add(standing.name)
            await self._note()
            await self._marks.catch_up()

    async def _restore(self) -> None:
        """Once each, before the store is asked."""
        if self._cache is None:
            return
        for standing in [standing for standing in self._all() if standing.name not in self._restored]:
            self._restored.add(standing.name)
            usage = await self._cache.usage(*standing.name)
            await self._restore_one(self._cache, standing, usage)
            standing.pinned = usage is not None and usage.version == standing.version and usage.pinned
        self._show()

    async def _restore_one(self, cache: Cache, standing: Standing, usage: Usage | None) -> None:
        """What served, and what a rollback would go back to; the newest that is still whole if that has rotted."""
        cached = await cache.versions(*standing.name)
        cached.sort(key=lambda version: usage is not None and version == usage.version, reverse=True)
        good: list[LoadedModel] = []
        for version in cached:
            try:
                await self._marks.check(*standing.name, version, store=False)
                good.append((await self._fetcher.fetch(cache.folder, standing.stream, standing.member, version)).model)
            except (NotFound, RefusedModel) as error:
                log.warning("cached model not used: %s", error, extra={"version": version})
        if not good:
            await cache.drop(*standing.name)
            return
        self._swap(standing, good[0], "restart", "restored from this edge's disk")
        standing.former = good[1] if len(good) > 1 else None

    async def _follow(self, standing: Standing) -> None:
        try:
            key = manifests.pointer_key(*standing.name)
            pointer = await self._store.get(key, unless=standing.etag, limit=POINTER_LIMIT)
        except NotFound:
            return
        except TooLarge as error:
            # Every look finds it anew, which costs an answer without a body.
            await self._refuse_named(standing, UNKNOWN, RefusedModel("pointer", str(error)))
            return
        if pointer is None:
            return
        version = UNKNOWN
        try:
            version = manifests.decode(pointer.body, Pointer, "pointer").version
            manifests.version_number(version)
            standing.named = version
            standing.compare(self._clock())
            if standing.version != version and not standing.pinned:
                await self._adopt(standing, version, "pointer", "named by the store's pointer")
        except RefusedModel as error:
            await self._refuse_named(standing, version, error)
        except NotFound as error:
            # The pointer may be seen before what it points at: the next wake looks again.
            log.warning("model not there yet: %s", error, extra={"stream": standing.stream.name, "version": version})
            return
        standing.etag = pointer.etag

    async def _refuse_named(self, standing: Standing, version: str, error: RefusedModel) -> None:
        """What the pointer names may not serve."""
        self._refuse(standing, version, error)
        if standing.serving is None:
            await self._fall_back(standing, version)

    async def _adopt(self, standing: Standing, version: str, cause: Cause, why: str) -> None:
        """Swaps a version in. Raises RefusedModel, NotFound."""
        manifests.version_number(version)
        remembered = standing.refused.get(version)
        if remembered is not None:
            raise RefusedModel("remembered", remembered)
        await self._marks.check(*standing.name, version)
        fetched = await self._fetcher.fetch(self._store, standing.stream, standing.member, version)
        self._swap(standing, fetched.model, cause, why)
        await self._keep(standing, fetched)

    async def _keep(self, standing: Standing, fetched: Fetched) -> None:
        if self._cache is not None:
            await self._cache.keep(*standing.name, fetched)

    async def _fall_back(self, standing: Standing, named: str) -> None:
        """Where nothing serves, an older version that may is better than none."""
        found = {version async for version in self._versions(standing)}
        older = sorted((version for version in found if version < named), reverse=True)
        for version in older[:FALL_BACKS]:
            try:
                await self._adopt(standing, version, "fallback", f"the newest that may serve: {named} may not")
            except RefusedModel as error:
                self._refuse(standing, version, error)
            except NotFound:
                continue
            else:
                return

    async def _versions(self, standing: Standing) -> AsyncIterator[str]:
        async for listed in self._store.list(f"{manifests.folder(*standing.name)}/v"):
            version = listed.key.split("/")[3]
            if manifests.is_version(version):
                yield version

    def _swap(self, standing: Standing, model: LoadedModel, cause: Cause, why: str) -> None:
        if standing.version is not None:
            self._metrics.model_info.remove(*standing.name, standing.version)
        standing.swap(model, why, self._clock())
        self._show()
        self._changed.add(standing.name)
        self._metrics.model_swaps.labels(*standing.name, cause).inc()
        self._metrics.model_info.labels(*standing.name, model.version).set(1)
        created = datetime.fromisoformat(model.manifest.created).timestamp()
        self._metrics.model_created.labels(*standing.name).set(created)
        extra = {"stream": standing.stream.name, "member": standing.member, "version": model.version, "why": why}
        log.info("model swapped in", extra=extra)

    def _show(self) -> None:
        """What the step reads, replaced by one assignment each."""
        standings = self._all()
        self.loaded = {standing.name: standing.serving for standing in standings if standing.serving}
        self._shadows = {
            standing.name: standing.former for standing in standings if standing.former and not standing.pinned
        }

    def _refuse(self, standing: Standing, version: str, error: RefusedModel) -> None:
        version = manifests.shown(version)
        if standing.remember(version, str(error)):
            self._metrics.models_refused.labels(*standing.name, error.reason).inc()
            extra = {"stream": standing.stream.name, "member": standing.member, "version": version}
            log.warning("model refused", extra=extra, exc_info=error)

    async def _note(self) -> None:
        """Tells the disk what this edge left and what it runs, and notes it for the store."""
        while self._left:
            name, mark = self._left.pop(0)
            await self._marks.quarantine(*name, mark)
        while self._changed:
            standing = self.standing(*self._changed.pop())
            if standing.serving is not None:
                await self._use(standing, standing.serving.version)

    async def _use(self, standing: Standing, version: str) -> None:
        former = standing.former.version if standing.former else None
        usage = Usage(self.edge_id() or "", version, former, standing.pinned, self._clock(), self.edge)
        if self._cache is not None:
            await self._cache.use(*standing.name, usage)
        self._marks.use(*standing.name, usage)


def _standings_of(stream: StreamDefinition) -> dict[str, Standing]:
    return {member: Standing(stream, member) for member in MODELS}
