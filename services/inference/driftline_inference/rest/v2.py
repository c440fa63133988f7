"""The Open Inference Protocol v2 over the serving models, with its extensions for the repository, configurations and
statistics, so that existing clients work. Only the version that serves is there."""

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from driftline.errors import InvalidInput, NotFound, Unavailable
from driftline.service.access.roles import Needed
from driftline.service.app import ReadinessCheck
from driftline.service.body import read_body
from driftline_inference.rest.model_statistics import READ, RUN, WRITE, StatisticsByModel
from driftline_inference.rest.protocol import DATATYPE, HEADER_LENGTH, INPUT, decode, encode
from driftline_inference.rest.served import ServedModels

BODY_LIMIT = 32 * 1024 * 1024
EXTENSIONS = ["binary_tensor_data", "model_repository", "model_configuration", "statistics"]
TENSOR = {"name": INPUT, "datatype": DATATYPE, "shape": [1, 3], "data": [0.1, -0.2, 0.3]}
DOCUMENTED = {
    "requestBody": {
        "required": True,
        "description": "JSON tensors, or the binary tensor extension's JSON head with bytes behind it.",
        "content": {"application/json": {"schema": {"type": "object"}, "example": {"inputs": [TENSOR]}}},
    }
}
FOLLOWS = "the models follow the store: publish a version there, or pin one with POST /v1/models/{stream}.{member}/pin"


class ProtocolError(BaseModel):
    """An error in the form of the protocol."""

    error: str


class IndexRequest(BaseModel):
    """Which models the index lists."""

    ready: bool = Field(False, description="only those that serve")


class IndexedModel(BaseModel):
    """A model of the repository."""

    name: str = Field(examples=["outdoor-temperature.batch"])
    version: str = Field("", description="the version that serves", examples=["v000042-0123456789ab"])
    state: str = Field(examples=["READY"])
    reason: str = Field("", description="why it does not serve")


def _errors(*answers: tuple[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ProtocolError, "description": meaning} for status, meaning in answers}


ROLES: Final[Mapping[str, Needed]] = {
    "GET /v2/health/live": "open",
    "GET /v2/health/ready": "open",
    "POST /v2/repository/index": "viewer",
    "POST /v2/repository/models/{name}/load": "viewer",
    "POST /v2/repository/models/{name}/unload": "viewer",
    "POST /v2/models/{name}/infer": "viewer",
    "POST /v2/models/{name}/versions/{wanted}/infer": "viewer",
}
"""To run a model changes nothing, nor does the index; to load one is refused to everybody."""
MISSING = (404, "No such model, or no such version, serves.")
MALFORMED = (422, "A part of the request has the wrong form.")
OF_MODEL = _errors(MISSING, MALFORMED)
INFERRED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Tensors as JSON, or as bytes where they were asked for.",
        "content": {"application/json": {"schema": {"type": "object"}}, "application/octet-stream": {}},
    }
}


class ProtocolRoute(APIRoute):
    """Errors in the protocol's own shape: `{"error": …}`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answering(request: Request) -> Response:
            try:
                return await handle(request)
            except InvalidInput as error:
                return JSONResponse({"error": str(error)}, 400)
            except NotFound as error:
                return JSONResponse({"error": str(error)}, 404)
            except RequestValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                return JSONResponse({"error": f"{where}: {first['msg']}"}, 422)
            except HTTPException as error:
                return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

        return answering


def routes(models: ServedModels, version: str, checks: list[ReadinessCheck]) -> APIRouter:
    """`version`: of this software. `checks`: what readiness asks for."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"], route_class=ProtocolRoute)

    @router.get("", summary="Server metadata")
    async def server() -> dict[str, Any]:
        return {"name": "driftline", "version": version, "extensions": EXTENSIONS}

    @router.get("/health/live", summary="Whether the server runs", response_class=Response)
    async def live() -> Response:
        return Response()

    @router.get(
        "/health/ready",
        summary="Whether the server can work",
        response_class=Response,
        responses=_errors((503, "It lacks something that it needs.")),
    )
    async def ready() -> Response:
        try:
            for check in checks:
                await check.probe()
        except Unavailable as error:
            raise HTTPException(503, str(error)) from error
        return Response()

    _add_repository(router, models)
    statistics = StatisticsByModel(time.perf_counter_ns, lambda: time.time_ns() // 1_000_000)

    @router.get("/models/stats", summary="Statistics of all models")
    async def all_stats() -> dict[str, Any]:
        return {"model_stats": [statistics.of(one.name, one.version).answer(one.name) for one in models]}

    # Each route is there for the model and for one version of it.
    for path in ("/models/{name}", "/models/{name}/versions/{wanted}"):
        _add_model(router, path, models, statistics)
        _add_infer(router, path, models, statistics)
    _add_rest(router)
    return router


def _add_repository(router: APIRouter, models: ServedModels) -> None:
    @router.post(
        "/repository/index",
        summary="Index of the models",
        description="Those that serve with their versions, and those that have none yet.",
        responses=_errors((400, "The body is broken."), MALFORMED),
    )
    async def index(request: Annotated[IndexRequest | None, Body()] = None) -> list[IndexedModel]:
        serving = [IndexedModel(name=one.name, version=one.version, state="READY") for one in models]
        if request is not None and request.ready:
            return serving
        reason = "it has no version that can serve yet"
        missing = [IndexedModel(name=name, state="UNAVAILABLE", reason=reason) for name in models.missing()]
        return sorted([*serving, *missing], key=lambda one: one.name)

    for verb in ("load", "unload"):

        @router.post(
            f"/repository/models/{{name}}/{verb}",
            name=f"{verb}_model",
            summary=f"Refused: no client can {verb} a model",
            responses=_errors((400, "Models follow the store."), MALFORMED),
            status_code=400,
        )
        async def refuse(name: str) -> None:
            raise InvalidInput(f"{name}: no client can load or unload models: {FOLLOWS}")


def _add_model(router: APIRouter, path: str, models: ServedModels, statistics: StatisticsByModel) -> None:
    @router.get(path, summary="Model metadata", responses=OF_MODEL)
    async def metadata(name: str, wanted: str | None = None) -> dict[str, Any]:
        return models.find(name, wanted).metadata()

    @router.get(f"{path}/config", summary="Model configuration", responses=OF_MODEL)
    async def config(name: str, wanted: str | None = None) -> dict[str, Any]:
        return models.find(name, wanted).config()

    @router.get(
        f"{path}/stats",
        summary="Model statistics",
        description="Of requests to this door since the version serves, or the service runs. Forecasts of the stream "
        "are none of them: see the metrics.",
        responses=OF_MODEL,
    )
    async def stats(name: str, wanted: str | None = None) -> dict[str, Any]:
        served = models.find(name, wanted)
        return {"model_stats": [statistics.of(name, served.version).answer(name)]}

    @router.get(f"{path}/ready", summary="Whether a model serves", response_class=Response, responses=OF_MODEL)
    async def ready(name: str, wanted: str | None = None) -> Response:
        models.find(name, wanted)
        return Response()


def _add_infer(router: APIRouter, path: str, models: ServedModels, statistics: StatisticsByModel) -> None:
    @router.post(
        f"{path}/infer",
        summary="Run a model",
        description="STREAM.MEMBER takes scaled features as the input `input`. STREAM.MEMBER.records takes recent "
        "records: the input `records`, of BYTES, has a row as JSON in each element, as `POST /v1/records` takes them; "
        "where the stream has futures, `futures` may have rows as `POST /v1/futures` takes them. The outputs are the "
        "`key` of each series, and for each of its horizons the `time`, milliseconds since the epoch, and the "
        "`forecast` in the target's units.",
        openapi_extra=DOCUMENTED,
        responses=INFERRED
        | OF_MODEL
        | _errors((400, "The request is no tensor of the model's shape."), (413, "The body is too large.")),
    )
    async def infer(request: Request, name: str, wanted: str | None = None) -> Response:
        models.find(name, wanted)
        body = await read_body(request, BODY_LIMIT)
        # A swap may have come while the body was read.
        served = models.find(name, wanted)
        counted = statistics.of(name, served.version)
        with counted.request():
            with counted.phase(READ):
                asked, inputs = decode(body, request.headers.get(HEADER_LENGTH))
                given = await served.form.read(served.model, asked, inputs)
            # ... or while records were read elsewhere: from here to the answer nothing is awaited.
            served = models.find(name, wanted)
            with counted.phase(RUN):
                rows, outputs = served.form.run(served.model, given)
            counted.ran(rows)
            with counted.phase(WRITE):
                content, head = encode(asked, name, served.version, outputs)
        if head is None:
            return Response(content, media_type="application/json")
        return Response(content, headers={HEADER_LENGTH: str(head)}, media_type="application/octet-stream")


def _add_rest(router: APIRouter) -> None:
    """Clients expect the protocol's form also of what is not there."""

    @router.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
    async def nothing(request: Request, path: str) -> None:
        raise NotFound(f"found {request.method} /v2/{path}, expected a request of the protocol; see /docs")
