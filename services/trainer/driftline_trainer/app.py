"""The composition root of the trainer."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from fastapi import FastAPI

from driftline.bus.port import Bus
from driftline.clock import BelievedClock
from driftline.fleet import definitions
from driftline.fleet.names import HEARTBEATS, REGISTRATIONS
from driftline.fleet.reading import FleetView
from driftline.metrics import Metrics
from driftline.service import webhook
from driftline.service.access.opening import open_gate
from driftline.service.access.roles import Needed
from driftline.service.app import BackgroundJob, ReadinessCheck, create_service, end_process
from driftline.store.door_names import LIST, OBJECT, WATCH
from driftline.store.event_topic import StoreEventReader
from driftline.store.port import Store
from driftline.store.reconcile import AllHinted, StoreReconciler
from driftline.store.timed import TimedStore
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline_trainer.days.compactor import DayCompactor
from driftline_trainer.fleet import page as fleet_page
from driftline_trainer.fleet.believed import BelievedFleet
from driftline_trainer.fleet.book import FleetBook
from driftline_trainer.fleet.exporter import FleetExporter
from driftline_trainer.fleet.rest import routes as fleet_routes
from driftline_trainer.fleet.watch import REGISTRATIONS_S, FleetWatch
from driftline_trainer.fleet_door import rest as fleet_rest
from driftline_trainer.fleet_door import store_rest
from driftline_trainer.fleet_door.changes import StoreChanges
from driftline_trainer.fleet_door.definitions import DefinitionPublisher, DefinitionStages
from driftline_trainer.fleet_door.edges import Edges
from driftline_trainer.fleet_door.policy import Policy, refusal
from driftline_trainer.fleet_door.retrain import Askers
from driftline_trainer.fleet_door.tokens import JoinTokens
from driftline_trainer.rest import routes
from driftline_trainer.rollouts import rest
from driftline_trainer.rollouts.rollouts import Rollouts
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer

ROLES: Final[Mapping[str, Needed]] = {
    **{f"* {path}": "open" for path in (OBJECT, LIST, WATCH)},
    "POST /v1/fleet/join": "open",
    "GET /v1/fleet/provision": "open",
    "POST /v1/fleet/rotate": "open",
    "POST /v1/jobs": "open",
    "GET /v1/fleet/tokens": "operator",
    "GET /v1/fleet/registrations": "operator",
}
"""The devices' door asks for their own credentials, and so do jobs, which devices ask for, too."""
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
    clock: Callable[[], float] = time.time,
    on_death: Callable[[str, BaseException], None] = end_process,
    policy: Policy = refusal,
) -> FastAPI:
    """Trains on demand, retrains as windows arrive, and rolls new versions out: `app.state.rollouts`, by what
    `app.state.heartbeats` reads.

    trainer: may be given by who wants to steer it. events: the bus that the store writes its events to, if it does.
    policy: what edges may do in the store."""
    metrics, streams = metrics or Metrics(), Streams.of(streams)
    changes = [StoreChanges(f"changes of {prefix}", store, prefix, poll=settings.store_poll) for prefix in WATCHED]
    store = TimedStore(store, metrics, lambda key: announce(changes, key))
    book = FleetBook(settings.fleet_limit, clock())
    watch = FleetWatch(store, book, metrics, settings.fleet_trust(), clock)
    fleet = BelievedFleet(book, watch, clock)
    training = trainer or Trainer(settings, store, streams, metrics, fleet=fleet)
    rollouts = Rollouts(store, streams, fleet, metrics, signer=settings.signer(), poll=settings.rollout_poll)
    store_reconciler = _store_reconciler(settings, store, training)
    streams.on_new(lambda _: store_reconciler.wake())
    metrics.registry.register(FleetExporter(book, clock, settings.fleet_metrics))
    fleet_reconcilers = _fleet_reconcilers(settings, store, watch)
    hinted = AllHinted(store_reconciler, *fleet_reconcilers)
    compactor = DayCompactor(settings, store, streams, training, metrics)
    jobs: list[BackgroundJob] = [training, rollouts, store_reconciler, compactor, *fleet_reconcilers]
    if settings.store_is_folder:
        # Whoever else writes there is heard of. A queue's events come once, and the windows' watch takes them.
        jobs += changes
    jobs.append(_definition_publisher(settings, store, fleet))
    if events is not None and settings.store_topic is not None:
        jobs.append(StoreEventReader(events, settings.store_topic, hinted))

    gate = open_gate(settings, metrics)
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
        gate=gate,
        roles={**webhook.ROLES, **ROLES},
    )
    app.state.rollouts, app.state.heartbeats = rollouts, watch
    signer, trust = settings.signer(), settings.fleet_trust()
    edges, tokens = Edges(store, signer, trust), JoinTokens(store, signer, trust)
    app.include_router(routes(training, Askers(edges, gate)))
    app.include_router(rest.routes(rollouts))
    app.include_router(webhook.routes(hinted))
    app.include_router(fleet_rest.routes(settings, edges, tokens))
    app.include_router(store_rest.routes(store, edges, changes, policy))
    app.include_router(fleet_routes(book, clock))
    app.include_router(fleet_page.routes())
    app.mount("/assets", fleet_page.assets())
    return app


def _store_reconciler(settings: TrainerSettings, store: Store, training: Trainer) -> StoreReconciler:
    return StoreReconciler(
        "window watch",
        store,
        "windows/",
        poll=settings.store_poll,
        reconcile=training.reconcile,
        base=settings.store_prefix,
        relist=settings.store_relist,
    )


def _definition_publisher(settings: TrainerSettings, store: Store, fleet: FleetView) -> DefinitionPublisher:
    stages = DefinitionStages(settings.definitions_stages, settings.definitions_hold)
    return DefinitionPublisher(settings.streams, store, settings.signer(), settings.fleet_trust(), fleet, stages)


def _fleet_reconcilers(settings: TrainerSettings, store: Store, watch: FleetWatch) -> list[StoreReconciler]:
    """Of heartbeats and of registrations, which change seldom."""
    return [
        StoreReconciler(name, store, prefix, poll=poll, reconcile=reconcile, base=settings.store_prefix)
        for name, prefix, poll, reconcile in (
            ("heartbeat watch", HEARTBEATS, settings.store_poll, watch.reconcile),
            ("registration watch", REGISTRATIONS, REGISTRATIONS_S, watch.reconcile_registrations),
        )
    ]


def announce(changes: Sequence[StoreChanges], key: str) -> None:
    """Tells whoever waits for it that an object was written here."""
    for one in changes:
        if key.startswith(one.prefix):
            one.note(frozenset({key}))
