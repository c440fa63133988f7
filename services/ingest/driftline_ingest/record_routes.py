"""The REST routes that take records and futures in."""

from collections.abc import Awaitable, Callable
from functools import lru_cache

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.datastructures import QueryParams

from driftline.service.access.gate import AccessGate
from driftline.service.access.roles import Role
from driftline.service.body import read_body
from driftline.service.problems import NO_ROW, instance_of, problem
from driftline.streams.reading.bodies import Malformed
from driftline_ingest.direct_routes import DirectRoute
from driftline_ingest.door import Door
from driftline_ingest.limiter import Limiter
from driftline_ingest.parsing import TooManyRows, UnknownType
from driftline_ingest.receipts import Receipt, rows_of
from driftline_ingest.record_requests import ANSWERS, DOCUMENTED, FUTURES_DOCUMENTED
from driftline_ingest.settings import IngestSettings

QUERIES_REMEMBERED = 32
"""A sender asks the same with every request."""


def routes(door: Door, settings: IngestSettings, limiter: Limiter, gate: AccessGate) -> APIRouter:
    router = APIRouter(tags=["records"], route_class=DirectRoute)

    @router.post(
        "/v1/records",
        summary="Take records in",
        status_code=202,
        response_model=Receipt,
        responses=ANSWERS,
        openapi_extra=DOCUMENTED,
    )
    async def take(request: Request) -> Response:
        return await answer(request, door.take)

    @router.post(
        "/v1/futures",
        summary="Take in what is known ahead",
        description="Accepted rows are on the bus. A series keeps them from its first record on, and for a bounded "
        "time ahead of its newest one.",
        status_code=202,
        response_model=Receipt,
        responses=ANSWERS,
        openapi_extra=FUTURES_DOCUMENTED,
    )
    async def foresee(request: Request) -> Response:
        return await answer(request, door.foresee)

    async def answer(request: Request, taking: Callable[..., Awaitable[tuple[Receipt, bool]]]) -> Response:
        sender = await gate.admit(request, Role.SENDER)
        limiter.admit(request, sender)
        named, mapped = _asked(request.scope["query_string"])
        name = await door.stream(named)
        body = await read_body(request, settings.body_limit)
        try:
            receipt, taken = await taking(name, request.headers.get("content-type", ""), body, mapped=mapped)
        except UnknownType as error:
            raise HTTPException(415, str(error)) from error
        except TooManyRows as error:
            raise HTTPException(413, str(error)) from error
        except Malformed as error:
            raise HTTPException(400, str(error)) from error
        limiter.count(request, sender, rows_of(receipt))
        if not taken:
            return _none_taken(request, receipt)
        return Response(receipt.model_dump_json(exclude_none=True), 202, media_type="application/json")

    return router


@lru_cache(QUERIES_REMEMBERED)
def _asked(query: bytes) -> tuple[str | None, bool]:
    """The stream that a query names, and whether the rows have the definition's own columns."""
    asked = QueryParams(query)
    return asked.get("stream"), asked.get("mapped") == "true"


def _none_taken(request: Request, receipt: Receipt) -> Response:
    """A receipt that is a problem."""
    fields = receipt.model_dump(mode="json", exclude_none=True, exclude={"detail"})
    detail = receipt.detail or f"none of {receipt.refused_total} rows can be used; `refused` says why"
    return problem(422, detail, kind=NO_ROW, instance=instance_of(request.scope["path"]), **fields)
