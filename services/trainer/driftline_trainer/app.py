"""The composition root of the trainer."""

import time
from collections.abc import Callable, Mapping, Sequence

from fastapi import FastAPI

from driftline.bus.port import Bus
from driftline.clock import BelievedClock
from driftline.fleet import definitions
from driftline.metrics import Metrics
from driftline.service import webhook
from driftline.service.app import BackgroundJob, ReadinessCheck, create_service, end_process
from driftline.store.event_topic import StoreEventReader
from driftline.store.port import Store
from driftline.store.reconcile import StoreReconciler
from driftline.store.timed import TimedStore
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline_trainer.fleet_door import rest as fleet_rest
from driftline_trainer.fleet_door import store_rest
from driftline_trainer.fleet_door.changes import StoreChanges
from driftline_trainer.fleet_door.definitions import DefinitionPublisher
from driftline_trainer.fleet_door.edges import Edges
from driftline_trainer.fleet_door.policy import Policy, refusal
from driftline_trainer.fleet_door.tokens import JoinTokens
from driftline_trainer.rest import routes
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer

WATCHED = ("models/", definitions.FOLDER)
"""What edges may watch."""


def create_app(
    settings: TrainerSettings,
    store: Store,
    *,
    streams: Mapping[str, StreamDefinition],
    metrics: Metrics | None = None,
    trainer: Trainer | None = None,
    events: Bus | None = None,
    on_death: Callable[[str, BaseException], None] = end_process,
    policy: Policy = refusal,
) -> FastAPI:
    """Trains on demand, and retrains as windows arrive. `trainer` may be given by who wants to steer it.
    `events`: the bus that the store writes its events to, if it does. policy: what edges may do in the store."""
    metrics, streams = metrics or Metrics(), Streams.of(streams)
    changes = [StoreChanges(f"changes of {prefix}", store, prefix, poll=settings.store_poll) for prefix in WATCHED]
    store = TimedStore(store, metrics, lambda key: announce(changes, key))
    training = trainer or Trainer(settings, store, streams, metrics)
    store_reconciler = _store_reconciler(settings, store, training)
    streams.on_new(lambda _: store_reconciler.wake())
    jobs: list[BackgroundJob] = [training, store_reconciler]
    if settings.store_is_folder:
        # Whoever else writes there is heard of. A queue's events come once, and the windows' watch takes them.
        jobs += changes
    jobs.append(DefinitionPublisher(settings.streams, store, settings.signer(), settings.fleet_trust()))
    if events is not None and settings.store_topic is not None:
        jobs.append(StoreEventReader(events, settings.store_topic, store_reconciler))

    app = create_service(
        "trainer",
        "Trains, checks and publishes models.",
        metrics=metrics,
        streams=streams,
        jobs=jobs,
        checks=[
            ReadinessCheck("store", store.check),
            ReadinessCheck("clock", BelievedClock(time.time).check, needed=False),
        ],
        on_death=on_death,
        close=[*([events.close] if events is not None else []), store.close],
    )
    app.include_router(routes(training, settings))
    signer, trust = settings.signer(), settings.fleet_trust()
    edges, tokens = Edges(store, signer, trust), JoinTokens(store, signer, trust)
    app.include_router(fleet_rest.routes(settings, edges, tokens))
    app.include_router(store_rest.routes(store, edges, changes, policy))
    app.include_router(webhook.routes(store_reconciler, settings.token))
    return app


def _store_reconciler(settings: TrainerSettings, store: Store, training: Trainer) -> StoreReconciler:
    return StoreReconciler(
        "window watch",
        store,
        "windows/",
        poll=settings.store_poll,
        reconcile=training.reconcile,
        base=settings.store_prefix,
    )


def announce(changes: Sequence[StoreChanges], key: str) -> None:
    """Tells whoever waits for it that an object was written here."""
    for one in changes:
        if key.startswith(one.prefix):
            one.note(frozenset({key}))
