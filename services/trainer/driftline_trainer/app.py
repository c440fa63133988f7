"""The composition root of the trainer."""

from collections.abc import Callable, Mapping

from fastapi import FastAPI

from driftline import webhook
from driftline.definition import StreamDefinition
from driftline.metrics import Metrics
from driftline.service import Check, create_service, end_process
from driftline.store import Store
from driftline.watch import StoreWatch
from driftline_trainer.rest import routes
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer


def create_app(
    settings: TrainerSettings,
    store: Store,
    *,
    streams: Mapping[str, StreamDefinition],
    metrics: Metrics | None = None,
    trainer: Trainer | None = None,
    on_death: Callable[[str, BaseException], None] = end_process,
) -> FastAPI:
    """Trains on demand, and retrains as windows arrive. `trainer` may be given by who wants to steer it."""
    metrics = metrics or Metrics()
    training = trainer or Trainer(settings, store, streams, metrics)
    watch = StoreWatch(
        "window watch",
        store,
        "windows/",
        poll=settings.store_poll,
        reconcile=training.reconcile,
        base=settings.store_prefix,
    )
    app = create_service(
        "trainer",
        "Trains, checks and publishes models.",
        metrics=metrics,
        jobs=[training, watch],
        checks=[Check("store", store.check)],
        on_death=on_death,
        close=store.close,
    )
    app.include_router(routes(training, settings))
    app.include_router(webhook.routes(watch, settings.token))
    return app
