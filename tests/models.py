"""An edge's models by themselves, without its worker: what serves, and what keeps it at what the store names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastapi import FastAPI

from driftline.metrics import Metrics
from driftline.models.signing import Trust
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline_inference.registry.cache import Cache
from driftline_inference.registry.outbox import StoreOutbox
from driftline_inference.registry.reconciler import Reconciler
from driftline_inference.registry.registry import Registry
from driftline_inference.registry.versions import Fetcher, Live


@dataclass(frozen=True)
class Models:
    registry: Registry
    reconciler: Reconciler

    @classmethod
    def on(
        cls,
        store: Store,
        stream: StreamDefinition,
        trust: Trust,
        *,
        cache: Cache | None = None,
        metrics: Metrics | None = None,
        live: Live | None = None,
        edge_id: Callable[[], str | None] = lambda: None,
        labels: Mapping[str, str] | None = None,
    ) -> "Models":
        registry = Registry({stream.name: stream}, metrics or Metrics())
        outbox = StoreOutbox(store, cache.folder if cache else None, edge_id, trust)
        fetcher = replace(Fetcher(trust), live=live)
        return cls(registry, Reconciler(registry, store, fetcher, outbox, cache=cache, labels=labels))

    @classmethod
    def of(cls, app: FastAPI) -> "Models":
        return cls(app.state.registry, app.state.reconciler)

    def serving(self) -> Mapping[tuple[str, str], Any]:
        return self.registry.serving()

    async def reconcile(self) -> None:
        await self.reconciler.reconcile()
