"""The webhook for stores that can post their events: one more source of hints, and nothing that is believed."""

from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter, Request, Response

from driftline.service.access.roles import Needed
from driftline.service.body import read_body
from driftline.store.reconcile import Hinted

EVENT_LIMIT = 1024 * 1024
EXAMPLE = {
    "Records": [
        {
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "driftline"}, "object": {"key": "models/outdoor-temperature/speed/current.json"}},
        }
    ]
}
DOCUMENTED = {
    "requestBody": {
        "required": True,
        "description": "An event notification; what can't be read is a hint all the same.",
        "content": {"application/json": {"schema": {}, "example": EXAMPLE}},
    }
}


ROLES: Final[Mapping[str, Needed]] = {"POST /v1/events/s3": "sender"}


def routes(reconciler: Hinted) -> APIRouter:
    router = APIRouter(tags=["store events"])

    @router.post(
        "/v1/events/s3",
        summary="Report a change of the object store",
        description="An S3 event notification as AWS, MinIO, versitygw or others write it. The service only takes"
        " it as a hint and reads the store, so a repeated, late or wrong event does no harm.",
        status_code=202,
        response_class=Response,
        responses={413: {}},
        openapi_extra=DOCUMENTED,
    )
    async def take(request: Request) -> Response:
        reconciler.hint(await read_body(request, EVENT_LIMIT))
        return Response(status_code=202)

    return router
