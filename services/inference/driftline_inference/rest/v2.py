"""The Open Inference Protocol v2 over the serving models, so that existing clients work.

A model is named STREAM.MEMBER; only the version that serves is there. Inputs and outputs are what the model itself
takes and gives, row by row; its manifest says what they mean.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel

from driftline.errors import InvalidInput, NotFound, Unavailable
from driftline.service.access.roles import Needed
from driftline.service.app import ReadinessCheck
from driftline.service.body import read_body
from driftline_inference.registry.registry import Registry
from driftline_inference.registry.versions import LoadedModel
from driftline_inference.rest.protocol import DATATYPE, HEADER_LENGTH, INPUT, OUTPUT, decode, encode

BODY_LIMIT = 32 * 1024 * 1024
TENSOR = {"name": INPUT, "datatype": DATATYPE, "shape": [1, 3], "data": [0.1, -0.2, 0.3]}
DOCUMENTED = {
    "requestBody": {
        "required": True,
        "description": "JSON tensors, or the binary tensor extension's JSON head with bytes behind it.",
        "content": {"application/json": {"schema": {"type": "object"}, "example": {"inputs": [TENSOR]}}},
    }
}


class ProtocolError(BaseModel):
    """An error in the form of the protocol."""

    error: str


def _errors(*answers: tuple[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ProtocolError, "description": meaning} for status, meaning in answers}


ROLES: Final[Mapping[str, Needed]] = {
    "GET /v2/health/live": "open",
    "GET /v2/health/ready": "open",
    "POST /v2/models/{name}/infer": "viewer",
    "POST /v2/models/{name}/versions/{wanted}/infer": "viewer",
}
"""To run a model changes nothing."""
MISSING = (404, "No such model, or no such version, serves.")
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
            except HTTPException as error:
                return JSONResponse({"error": str(error.detail)}, error.status_code)

        return answering


def routes(registry: Registry, version: str, checks: list[ReadinessCheck]) -> APIRouter:
    """`version`: of this software. `checks`: what readiness asks for."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"], route_class=ProtocolRoute)

    @router.get("", summary="Server metadata")
    async def server() -> dict[str, Any]:
        return {"name": "driftline", "version": version, "extensions": ["binary_tensor_data"]}

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

    # Each route is there for the model and for one version of it.
    for path in ("/models/{name}", "/models/{name}/versions/{wanted}"):
        _model_routes(router, path, registry)
    return router


def _serving(registry: Registry, name: str, wanted: str | None) -> LoadedModel:
    stream, _, member = name.rpartition(".")
    model = registry.serving().get((stream, member))
    if model is None:
        serving = sorted(".".join(pair) for pair in registry.serving())
        raise NotFound(f"found no model {name!r} that serves, expected one of {serving}")
    if wanted is not None and wanted != model.version:
        raise NotFound(f"found no version {wanted!r} of {name} that serves, expected {model.version!r}")
    return model


def _model_routes(router: APIRouter, path: str, registry: Registry) -> None:
    @router.get(path, summary="Model metadata", responses=_errors(MISSING))
    async def metadata(name: str, wanted: str | None = None) -> dict[str, Any]:
        manifest = _serving(registry, name, wanted).manifest
        tensors = {
            kind: [{"name": tensor, "datatype": DATATYPE, "shape": list(shape)}]
            for kind, tensor, shape in (
                ("inputs", INPUT, (-1, manifest.width)),
                ("outputs", OUTPUT, (-1, manifest.outputs)),
            )
        }
        return {"name": name, "versions": [manifest.version], "platform": "tensorflow_lite", **tensors}

    @router.get(f"{path}/ready", summary="Whether a model serves", response_class=Response, responses=_errors(MISSING))
    async def ready(name: str, wanted: str | None = None) -> Response:
        _serving(registry, name, wanted)
        return Response()

    @router.post(
        f"{path}/infer",
        summary="Run a model",
        openapi_extra=DOCUMENTED,
        responses=INFERRED
        | _errors((400, "The request is no tensor of the model's shape."), MISSING, (413, "The body is too large.")),
    )
    async def infer(request: Request, name: str, wanted: str | None = None) -> Response:
        _serving(registry, name, wanted)
        body = await read_body(request, BODY_LIMIT)
        # A swap may have come while the body was read: from here to the answer nothing is awaited.
        model = _serving(registry, name, wanted)
        asked, rows = decode(body, request.headers.get(HEADER_LENGTH), model.manifest.width)
        content, head = encode(asked, name, model.version, model.run(rows))
        if head is None:
            return Response(content, media_type="application/json")
        return Response(content, headers={HEADER_LENGTH: str(head)}, media_type="application/octet-stream")
