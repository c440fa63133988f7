"""The shell that all services share: a FastAPI app with its workers, /livez, /readyz and /metrics, ended by SIGTERM.

A worker that dies takes its process with it: there is never a healthy page before a dead consumer.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol
from uuid import uuid4

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from driftline.errors import Conflict, InvalidInput, NotAdmitted, NotAllowed, NotFound, Unavailable, Unstorable
from driftline.metrics import CollectedMetrics, Metrics
from driftline.service import docs_page, streams_route
from driftline.service.access import issuer_login, login
from driftline.service.access.gate import AccessGate
from driftline.service.access.guard import Guard
from driftline.service.access.roles import Needed, RouteRoles
from driftline.service.allocator import MemoryTrimmer
from driftline.service.openapi import complete
from driftline.service.problems import MALFORMED, instance_of, problem
from driftline.streams.catalog import CatalogRefresher, Streams

log = logging.getLogger(__name__)

ANSWER_S = 3
"""How long a condition of readiness may take to be known: less than whoever asks for it waits."""
GRACE_S = 8
"""How long workers may take to finish what they hold when the service stops."""


class BackgroundJob(Protocol):
    """Something that runs as long as its service does."""

    @property
    def name(self) -> str: ...

    async def run(self) -> None:
        """Returns after `stop`; an error that leaves it ends the process."""

    async def stop(self) -> None:
        """Asks it to finish what it holds and return."""


@dataclass(frozen=True)
class ReadinessCheck:
    """A condition of readiness: `probe` raises an Unavailable while it doesn't hold.

    needed: without it the service can't do its work; otherwise it is only said to be missing.
    """

    name: str
    probe: Callable[[], Awaitable[None]]
    needed: bool = True


class Readiness(BaseModel):
    """Whether a service can do its work, and what it lacks."""

    ready: bool
    checks: dict[str, str] = Field(
        description="by name `ok`, or what is missing; a service can be ready without what it needs only later",
        examples=[{"bus": "ok"}],
    )


def end_process(job: str, error: BaseException) -> None:
    """Ends this process as SIGTERM would, so that whoever watches it starts it anew."""
    log.critical("%s died, ending the process: %s", job, error, exc_info=error)
    os.kill(os.getpid(), signal.SIGTERM)


def create_service(
    name: str,
    description: str,
    *,
    metrics: Metrics,
    streams: Streams | None = None,
    jobs: Sequence[BackgroundJob] = (),
    checks: Sequence[ReadinessCheck] = (),
    on_death: Callable[[str, BaseException], None] = end_process,
    first: Callable[[], Awaitable[None]] | None = None,
    close: Sequence[Callable[[], Awaitable[None]]] = (),
    gate: AccessGate | None = None,
    roles: Mapping[str, Needed] = {},
) -> FastAPI:
    """An app that runs `jobs` while it lives, and looks for new `streams`. gate: who examines all requests; roles: by
    `METHOD /path` what a request needs, where that is not as its method says.

    `first` is awaited before they start; each of `close` last, to give connections back."""
    jobs = [*jobs, MemoryTrimmer()]
    if streams is not None:
        jobs = [*jobs, CatalogRefresher(streams)]

    title = f"Driftline {name}"
    app = FastAPI(
        title=title,
        description=description,
        version=version("driftline"),
        lifespan=_lifespan(jobs, on_death, first, close),
        docs_url=None,
        redoc_url=None,
        # FastAPI's own asks with every request whether somebody wants it; ours is `driftline.tracing`.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.include_router(docs_page.routes(title))
    app.state.metrics, app.state.checks = metrics, checks
    _add_error_handlers(app)
    _add_probes(app, metrics, checks)
    if streams is not None:
        app.include_router(streams_route.routes(streams))
        metrics.export_streams(lambda: len(streams), lambda: len(streams.refused))
    needing = RouteRoles(roles)
    if gate is not None:
        _add_gate(app, gate, needing)
    complete(app, lambda method, path: gate.role_for(needing.of(method, path)) if gate is not None else None)
    return app


def _lifespan(
    jobs: Sequence[BackgroundJob],
    on_death: Callable[[str, BaseException], None],
    first: Callable[[], Awaitable[None]] | None,
    close: Sequence[Callable[[], Awaitable[None]]],
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if first is not None:
            await first()
        stopping = asyncio.Event()
        tasks = [_start(job, on_death, stopping) for job in jobs]
        try:
            yield
        finally:
            stopping.set()
            await asyncio.gather(*(job.stop() for job in jobs))
            # What waits for a store or a broker that is away is not waited for: it is done again after the restart.
            await _finish(tasks)
            for end in close:
                await end()

    return lifespan


async def _finish(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Awaits the tasks for GRACE_S, then cancels those that are late."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=GRACE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _start(
    job: BackgroundJob, on_death: Callable[[str, BaseException], None], stopping: asyncio.Event
) -> asyncio.Task[None]:
    def done(task: asyncio.Task[None]) -> None:
        error = _end(task)
        if isinstance(error, Exception) or not stopping.is_set():
            on_death(job.name, error or RuntimeError("it ended although nobody stopped it"))

    task = asyncio.create_task(job.run(), name=job.name)
    task.add_done_callback(done)
    return task


def _end(task: asyncio.Task[None]) -> BaseException | None:
    """What ended it. That may be a cancellation that nobody asked for: of a future that a client of ours gave up."""
    if not task.cancelled():
        return task.exception()
    try:
        task.result()
    except asyncio.CancelledError as error:
        return error
    return None


def _add_gate(app: FastAPI, gate: AccessGate, roles: RouteRoles) -> None:
    """Logging in and out, and a guard before all other requests."""
    app.include_router(login.routes(gate))
    if gate.sign_in is not None:
        app.include_router(issuer_login.routes(gate, gate.sign_in))
    app.add_middleware(Guard, gate=gate, roles=roles, refuse=_refusal)


def _refusal(error: HTTPException) -> Response:
    """The answer to whom the gate does not let in."""
    return problem(error.status_code, str(error.detail), headers=error.headers)


STATUSES: dict[type[Exception], int] = {
    InvalidInput: 422,
    Unstorable: 422,
    NotAdmitted: 401,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    Unavailable: 503,
}
"""By error what it is in HTTP."""


def answered(request: Request, status: int, detail: str, **more: Any) -> Response:
    """A problem with what was asked for."""
    return problem(status, detail, instance=instance_of(request.scope["path"]), **more)


def _answering(status: int) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        return answered(request, status, str(error))

    return answer


def _add_error_handlers(app: FastAPI) -> None:
    """HTTP codes are chosen here and nowhere deeper; no stack trace reaches a client."""
    for kind, status in STATUSES.items():
        app.add_exception_handler(kind, _answering(status))

    @app.exception_handler(ClientDisconnect)
    async def _gone(_: Request, __: ClientDisconnect) -> Response:
        return problem(400, "the body did not come to its end")  # which nobody is there to read

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> Response:
        errors = [
            {"where": ".".join(str(part) for part in e["loc"]), "found": repr(e["input"])[:200], "expected": e["msg"]}
            for e in error.errors()
        ]
        return answered(request, 422, "the request is not as expected", kind=MALFORMED, errors=errors)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return answered(request, error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    async def _bug(_: Request, error: Exception) -> Response:
        instance = uuid4()
        # No text, so that the log still counts lines of one kind as repeated.
        log.error("unexpected error", exc_info=error, extra={"instance": instance})
        return problem(500, "an unexpected error; the service's log has the details", instance=instance.urn)


READINESS: dict[int | str, dict[str, Any]] = {
    200: {"model": Readiness, "description": "It can."},
    503: {"model": Readiness, "description": "Something is missing; the answer names it."},
}


def _add_probes(app: FastAPI, metrics: Metrics, checks: Sequence[ReadinessCheck]) -> None:
    @app.get("/livez", tags=["health"], summary="Whether the process runs")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], summary="Whether it can do its work", responses=READINESS)
    async def readyz() -> JSONResponse:
        faults = await asyncio.gather(*map(fault, checks))
        states = {check.name: str(reason or "ok") for check, reason in zip(checks, faults, strict=True)}
        ready = all(states[check.name] == "ok" for check in checks if check.needed)
        return JSONResponse({"ready": ready, "checks": states}, status_code=200 if ready else 503)

    @app.get("/metrics", tags=["health"], summary="Metrics for Prometheus", response_class=PlainTextResponse)
    async def read_metrics() -> Response:
        # Collected here, where nobody changes meanwhile what is collected; written elsewhere, since that takes longest.
        collected = CollectedMetrics(list(metrics.registry.collect()))
        return Response(await asyncio.to_thread(generate_latest, collected), media_type=CONTENT_TYPE_LATEST)


async def fault(check: ReadinessCheck) -> Unavailable | None:
    """Why a check is not content; None if it is."""
    try:
        async with asyncio.timeout(ANSWER_S):
            await check.probe()
    except Unavailable as error:
        return error
    except TimeoutError:
        return Unavailable(f"{check.name} gave no answer within {ANSWER_S} s")
    return None
