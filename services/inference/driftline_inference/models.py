"""The models that serve, and the reconcile that keeps them at what the store's pointers say.

An event is a hint; the pointer and the manifest are the truth. A version is fetched, verified and loaded before one
assignment swaps it in; a refused version is remembered, and the former one goes on.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from driftline import manifest as manifests
from driftline.definition import StreamDefinition
from driftline.errors import Conflict, InvalidInput, NotFound, RefusedModel
from driftline.features import Layout
from driftline.interpreter import Batch, Interpreter, check_golden
from driftline.manifest import Manifest, Pointer, Quarantine
from driftline.members import MODELS
from driftline.metrics import Metrics
from driftline.signing import Trust, unseal
from driftline.store import Store
from driftline_inference.cache import Cache
from driftline_inference.quarantine import Quarantines
from driftline_inference.step import Serving

log = logging.getLogger(__name__)

MODEL_LIMIT = 64 * 1024 * 1024
"""Bytes of a model at most: with two versions each it bounds the cache."""


@dataclass(frozen=True)
class LoadedModel:
    """A verified version, ready to run. `swapped`: seconds since the epoch when it began to serve."""

    manifest: Manifest
    interpreter: Interpreter
    swapped: float

    @property
    def version(self) -> str:
        return self.manifest.version

    def run(self, inputs: Batch) -> Batch:
        return self.interpreter.run(inputs)


@dataclass(frozen=True)
class Fetched:
    """A verified version with its files as they lay in the store."""

    loaded: LoadedModel
    manifest: bytes
    model: bytes


@dataclass(frozen=True)
class Status:
    """What is known of one model of one stream, for people."""

    state: Literal["missing", "serving"]
    refused: Mapping[str, str]
    """By version, why it was refused."""
    swaps: int


class Models:
    """The serving models of all streams. `serving` is read by the step, and only ever replaced as a whole."""

    def __init__(
        self,
        store: Store,
        streams: Mapping[str, StreamDefinition],
        metrics: Metrics,
        trust: Trust,
        cache: Cache | None = None,
        model_limit: int = MODEL_LIMIT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._streams = streams
        self._metrics = metrics
        self._trust = trust
        self._cache = cache
        self._model_limit = model_limit
        self._quarantines = Quarantines(store, cache.folder if cache else None)
        self._restored = cache is None
        self._former: dict[tuple[str, str], LoadedModel] = {}
        self._left: list[tuple[tuple[str, str], str, Quarantine]] = []
        self._clock = clock
        self.loaded: Mapping[tuple[str, str], LoadedModel] = {}
        self._reconciling = asyncio.Lock()
        self._etags: dict[tuple[str, str], str] = {}
        self._refused: dict[tuple[str, str], dict[str, str]] = {}
        self._swaps: dict[tuple[str, str], int] = {}
        self._live: Callable[[str], Batch] | None = None
        if trust.believes_nobody:
            log.warning("found no trusted keys: every model will be refused, the built-in members forecast alone")

    def probe_with(self, live: Callable[[str], Batch]) -> None:
        """`live` gives the newest inputs of all series of a stream: a new model must be able to forecast from them."""
        self._live = live

    def serving(self) -> Serving:
        return self.loaded

    def former(self, stream: str, member: str) -> str | None:
        """The version that a rollback would go back to."""
        found = self._former.get((stream, member))
        return found.version if found else None

    def shadows(self) -> Serving:
        """The versions that served before those that serve now."""
        return self._former

    def status(self, stream: str, member: str) -> Status:
        name = (stream, member)
        state: Literal["missing", "serving"] = "serving" if name in self.loaded else "missing"
        return Status(state, self._refused.get(name, {}), self._swaps.get(name, 0))

    async def reconcile(self) -> None:
        """Brings every model to the version that its pointer names. Raises StoreUnavailable."""
        async with self._reconciling:
            await self._restore()
            await self._mark()
            await self._quarantines.catch_up()
            for stream in self._streams.values():
                for member in MODELS:
                    await self._reconcile(stream, member)

    async def _restore(self) -> None:
        """Once, before the store is asked: serves what served when this edge was last up."""
        if self._cache is None or self._restored:
            return
        self._restored = True
        for stream in self._streams.values():
            for member in MODELS:
                try:
                    pointer = await _read(self._cache.folder, manifests.pointer_key(stream.name, member))
                    version = manifests.decode(pointer, Pointer, "pointer").version
                    await self._restore_former(self._cache, stream, member, version)
                    fetched = await self._fetch(self._cache.folder, stream, member, version)
                    self._swap((stream.name, member), fetched.loaded)
                except NotFound:
                    continue
                except RefusedModel as error:
                    log.warning("cached model dropped: %s", error, extra={"stream": stream.name, "member": member})
                    await self._cache.drop(stream.name, member)

    async def _restore_former(self, cache: Cache, stream: StreamDefinition, member: str, serving: str) -> None:
        """What a rollback would go back to."""
        for version in await cache.versions(stream.name, member):
            if version != serving:
                try:
                    fetched = await self._fetch(cache.folder, stream, member, version)
                    self._former[stream.name, member] = fetched.loaded
                except (NotFound, RefusedModel) as error:
                    log.warning("former version not restored: %s", error, extra={"version": version})

    def leave(self, stream: str, member: str, version: str, reason: str) -> None:
        """Leaves `version` for the one before, at once. The marks that keep it from coming back are written by the next
        reconcile. Twice is once.

        Raises NotFound, InvalidInput when another version serves, Conflict when there is none to go back to.
        """
        name = (stream, member)
        serving = self.loaded.get(name)
        if serving is None:
            raise NotFound(f"found no model {stream}.{member} that serves, expected one")
        if version in self._refused.get(name, {}):
            return
        if serving.version != version:
            raise InvalidInput(f"found version {version!r}, expected the serving one, {serving.version!r}")
        former = self._former.get(name)
        if former is None:
            raise Conflict(f"found no former version of {stream}.{member}, expected one to go back to")
        self._swap(name, replace(former, swapped=self._clock()))
        del self._former[name]
        self._refuse(name, version, RefusedModel("quarantine", reason))
        self._left.append((name, former.version, Quarantine(version, reason, self._clock())))

    async def rollback(self, stream: str, member: str, version: str, reason: str) -> None:
        """See `leave`; returns when the marks are on this edge's disk, and in the store if that answers."""
        async with self._reconciling:
            self.leave(stream, member, version, reason)
            await self._mark()

    async def _mark(self) -> None:
        while self._left:
            name, former, mark = self._left.pop(0)
            await self._quarantines.add(*name, mark)
            if self._cache is not None:
                await self._cache.point(*name, former)

    async def _reconcile(self, stream: StreamDefinition, member: str) -> None:
        name = (stream.name, member)
        try:
            pointer = await self._store.get(manifests.pointer_key(stream.name, member), unless=self._etags.get(name))
        except NotFound:
            return
        if pointer is None:
            return
        version = "unknown"
        try:
            version = manifests.decode(pointer.body, Pointer, "pointer").version
            manifests.version_number(version)
            if name not in self.loaded or self.loaded[name].version != version:
                self._check_remembered(name, version)
                await self._quarantines.check(*name, version)
                fetched = await self._fetch(self._store, stream, member, version)
                former = self._swap(name, fetched.loaded)
                await self._keep(name, fetched, former)
        except RefusedModel as error:
            self._refuse(name, version, error)
        except NotFound as error:
            # The pointer may be seen before what it points at: the next wake looks again.
            log.warning("model not there yet", extra={"stream": stream.name, "member": member, "missing": str(error)})
            return
        self._etags[name] = pointer.etag

    def _check_remembered(self, name: tuple[str, str], version: str) -> None:
        refused = self._refused.get(name, {}).get(version)
        if refused is not None:
            raise RefusedModel("remembered", refused)

    async def _fetch(self, store: Store, stream: StreamDefinition, member: str, version: str) -> Fetched:
        """A version out of `store`, verified and ready to run. Raises RefusedModel, NotFound."""
        described = await _read(store, manifests.manifest_key(stream.name, member, version))
        manifest = unseal(described, self._trust)
        if manifest.size > self._model_limit:
            raise RefusedModel("size", f"found {manifest.size} bytes, expected at most {self._model_limit}")
        model = await _read(store, manifests.model_key(stream.name, member, version))
        width = Layout.of(stream).net_width
        manifests.verify(manifest, model, stream=stream, member=member, version=version, width=width)
        live = self._live(stream.name) if self._live else np.empty((0, width), np.float32)
        interpreter = await asyncio.to_thread(_load, model, manifest, live)
        return Fetched(LoadedModel(manifest, interpreter, self._clock()), described, model)

    async def _keep(self, name: tuple[str, str], fetched: Fetched, former: str) -> None:
        if self._cache is not None:
            version = fetched.loaded.version
            await self._cache.keep(
                *name, version, manifest=fetched.manifest, model=fetched.model, former=former or version
            )

    def _swap(self, name: tuple[str, str], model: LoadedModel) -> str:
        """Returns the version that served before, or nothing."""
        former = self.loaded.get(name)
        self.loaded = {**self.loaded, name: model}
        self._swaps[name] = self._swaps.get(name, 0) + 1
        self._metrics.model_swaps.labels(*name).inc()
        if former is not None:
            self._former[name] = former
            self._metrics.model_info.remove(*name, former.version)
        self._metrics.model_info.labels(*name, model.version).set(1)
        log.info("model swapped in", extra={"stream": name[0], "member": name[1], "version": model.version})
        return former.version if former else ""

    def _refuse(self, name: tuple[str, str], version: str, error: RefusedModel) -> None:
        known = self._refused.get(name, {})
        self._refused[name] = {**known, version: known.get(version, str(error))}
        if version not in known:
            self._metrics.models_refused.labels(*name, error.reason).inc()
            log.warning(
                "model refused", extra={"stream": name[0], "member": name[1], "version": version}, exc_info=error
            )


async def _read(store: Store, key: str) -> bytes:
    stored = await store.get(key)
    assert stored is not None, "only a conditional get may answer with nothing"  # noqa: S101
    return stored.body


def _load(model: bytes, manifest: Manifest, live: Batch) -> Interpreter:
    interpreter = Interpreter(model)
    check_golden(interpreter, manifest.golden)
    wild = len(live) - int(np.isfinite(interpreter.run(live)).all(axis=1).sum()) if len(live) else 0
    if wild:
        raise RefusedModel("finite", f"found no finite forecast for {wild} of {len(live)} live series")
    return interpreter
