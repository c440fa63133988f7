"""Runs one service as a process: settings, ports, app, uvicorn. Wrong settings end it with one line a mistake."""

import asyncio
import gc
import logging
import sys
from collections.abc import Callable
from typing import TypeVar, cast

import uvicorn
from fastapi import FastAPI

from driftline.errors import InvalidInput
from driftline.metrics import Metrics
from driftline.service import allocator
from driftline.service.connections import ConnectionBounds, Connections
from driftline.service.hosts import OwnHosts
from driftline.service.logs import configure
from driftline.service.settings import Settings, read_settings
from driftline.streams.catalog import Streams

S = TypeVar("S", bound=Settings)

log = logging.getLogger(__name__)

SHUTDOWN_S = 10
"""How long open requests may take to end after SIGTERM."""
IDLE_S = 5
"""How long a connection may rest between two requests."""


def run(name: str, kind: type[S], build: Callable[[S, Streams], FastAPI]) -> None:
    """Serves the app that `build` makes until SIGTERM or SIGINT."""
    allocator.set_up()
    try:
        settings = read_settings(kind)
        configure(name, settings.log_level)
        for doubt in settings.doubts():
            log.warning(doubt)
        app = build(settings, Streams.open(settings.streams))
        check_door(app, settings)
    except InvalidInput as error:
        sys.exit(str(error))
    # What is there by now stays for good: full collections need not walk it again, which would pause the stream.
    gc.collect()
    gc.freeze()
    uvicorn.run(
        OwnHosts(app, settings.hosts),
        http=_connections(app, settings),
        ws="none",
        timeout_keep_alive=IDLE_S,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


def _connections(app: FastAPI, settings: Settings) -> type[asyncio.Protocol]:
    """What makes the protocol of each connection: to uvicorn a class, and here something that knows them all."""
    metrics: Metrics = app.state.metrics
    bounds = ConnectionBounds(settings.connections, settings.head_timeout, settings.body_timeout, IDLE_S)
    connections = Connections(bounds, metrics.connections_ended, metrics.connections)
    return cast("type[asyncio.Protocol]", connections.protocol)


def check_door(app: FastAPI, settings: Settings) -> None:
    """Raises InvalidInput where whoever comes from another machine could change something without a token."""
    if settings.token is not None or settings.is_local or settings.allow_anonymous:
        return
    operations = [operation for path in app.openapi()["paths"].values() for operation in path.values()]
    if any("security" in operation for operation in operations):
        raise InvalidInput(
            f"DRIFTLINE_TOKEN: found nothing while DRIFTLINE_HOST is {settings.host!r}, expected a token, since other "
            "machines can reach this service; or DRIFTLINE_ALLOW_ANONYMOUS=true to let them in without one"
        )
