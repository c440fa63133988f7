"""Runs services as a process, one or several: settings, ports, apps, uvicorn. Wrong settings end it with one line a
mistake."""

import asyncio
import gc
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeVar, cast

import uvicorn
import uvloop
from fastapi import FastAPI

from driftline.errors import InvalidInput
from driftline.metrics import Metrics
from driftline.service import allocator
from driftline.service.connections import ConnectionBounds, Connections
from driftline.service.hosts import OwnHosts
from driftline.service.logs import configure, speaking
from driftline.service.settings import Settings, read_settings
from driftline.service.supervision import supervised
from driftline.streams.catalog import Streams

S = TypeVar("S", bound=Settings)

log = logging.getLogger(__name__)

SHUTDOWN_S = 10
"""How long open requests may take to end after SIGTERM."""
IDLE_S = 5
"""How long a connection may rest between two requests."""


STARTUP_FAILURE = 3
"""The exit code where a service could not begin; uvicorn's own."""


@dataclass(frozen=True)
class Served:
    """A service's app, and the settings that say where and how it listens."""

    name: str
    app: FastAPI
    settings: Settings


def run(name: str, kind: type[S], build: Callable[[S, Streams], FastAPI]) -> None:
    """Serves the app that `build` makes until SIGTERM or SIGINT."""
    allocator.set_up()
    try:
        settings = read_settings(kind)
        configure([name], settings.log_level)
        for doubt in settings.doubts():
            log.warning(doubt)
        app = build(settings, Streams.open(settings.streams, settings.cloud_streams))
        check_door(app, settings)
    except InvalidInput as error:
        sys.exit(str(error))
    serve([Served(name, app, settings)])


async def _nothing() -> None:
    """There is nothing to close."""


def serve(services: Sequence[Served], close: Callable[[], Awaitable[None]] = _nothing) -> None:
    """Serves all of them until SIGTERM or SIGINT, each at its own door and on one event loop.

    The doors are closed first, then the workers write their last checkpoints, and `close` is awaited last.
    """
    # What is there by now stays for good: full collections need not walk it again, which would pause the stream.
    gc.collect()
    gc.freeze()
    try:
        uvloop.run(_serve(services, close))
    except KeyboardInterrupt:
        return
    except Exception:
        log.critical("the service could not go on", exc_info=True)
        sys.exit(STARTUP_FAILURE)


async def _serve(services: Sequence[Served], close: Callable[[], Awaitable[None]]) -> None:
    servers = [_server(service) for service in services]
    first, *others = servers
    lives: list[AsyncExitStack] = []
    # Signals come to the first of them; the others follow it.
    with first.capture_signals():
        try:
            for service, server in zip(services, servers, strict=True):
                with speaking(service.name):
                    lives.append(await _alive(service))
                    await server.startup()
            waiting = [asyncio.create_task(server.main_loop()) for server in others]
            async with supervised([service.app for service in services]):
                await first.main_loop()
            for server in others:
                server.should_exit, server.force_exit = True, first.force_exit
            await asyncio.gather(*waiting)
        finally:
            await asyncio.gather(*(server.shutdown() for server in servers if server.started))
            ended = await asyncio.gather(*(life.aclose() for life in lives), return_exceptions=True)
            await close()
            # One that fails takes no other's last checkpoint away.
            for error in filter(None, ended):
                raise error


async def _alive(service: Served) -> AsyncExitStack:
    """The service's workers at work, until it is closed."""
    life = AsyncExitStack()
    await life.enter_async_context(service.app.router.lifespan_context(service.app))
    return life


def _server(service: Served) -> uvicorn.Server:
    settings = service.settings
    config = uvicorn.Config(
        OwnHosts(service.app, settings.hosts),
        http=_connections(service.app, settings),
        ws="none",
        lifespan="off",  # ours: its workers must end after all doors have
        timeout_keep_alive=IDLE_S,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    return server


def _connections(app: FastAPI, settings: Settings) -> type[asyncio.Protocol]:
    """What makes the protocol of each connection: to uvicorn a class, and here something that knows them all."""
    metrics: Metrics = app.state.metrics
    bounds = ConnectionBounds(settings.connections, settings.head_timeout, settings.body_timeout, IDLE_S)
    connections = Connections(bounds, metrics.connections_ended, metrics.connections)
    return cast("type[asyncio.Protocol]", connections.protocol)


def check_door(app: FastAPI, settings: Settings) -> None:
    """Raises InvalidInput where whoever comes from another machine could change something without a token."""
    if settings.knows_callers or settings.is_local or settings.allow_anonymous:
        return
    operations = [operation for path in app.openapi()["paths"].values() for operation in path.values()]
    if any("security" in operation for operation in operations):
        raise InvalidInput(
            f"DRIFTLINE_TOKEN: found nothing while DRIFTLINE_HOST is {settings.host!r}, expected a token, since other "
            "machines can reach this service; or DRIFTLINE_ALLOW_ANONYMOUS=true to let them in without one"
        )
