"""The fleet's REST: tokens for new devices, joining, credentials, revocation."""

import base64
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from driftline.fleet.labels import LABELS_LIMIT, PATTERN
from driftline.fleet.registration import NAME, JoinAnswer, JoinToken, Provision, Registration, digest_of
from driftline.service.access import audit
from driftline.service.body import read_body
from driftline_trainer.fleet_door.credentials import device, shown
from driftline_trainer.fleet_door.edges import Edges
from driftline_trainer.fleet_door.joining import Joining
from driftline_trainer.fleet_door.tokens import LONGEST_S, JoinTokens
from driftline_trainer.settings import TrainerSettings

BODY_LIMIT = 16 * 1024
DAY_S = 86_400.0
ID_DIGITS = 16
SIGNED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "description": "A note signed by the device."}}},
    }
}

LabelText = Annotated[str, Field(pattern=PATTERN)]


class TokenRequest(BaseModel):
    """A join token to make."""

    model_config = {"extra": "forbid"}

    seconds: float = Field(DAY_S, gt=0, le=LONGEST_S, description="for so long it is good")
    edge: str | None = Field(
        None, pattern="^[a-z0-9]{1,64}$", description="the id that the device gets; without it, its own or a new one"
    )
    replaces: bool = Field(
        False, description="whether the device takes the place of the one that has this id, which is cut off then"
    )
    name: str | None = Field(None, pattern=NAME, examples=["greenhouse"])
    labels: dict[LabelText, LabelText] = Field({}, max_length=LABELS_LIMIT, examples=[{"site": "north"}])


class TokenAnswer(BaseModel):
    """A join token, without the token. Times in seconds since the epoch."""

    id: str
    created: float
    expires: float
    edge: str | None
    replaces: bool
    name: str | None
    labels: dict[str, str]
    used_by: str | None = Field(description="id of the edge that it has admitted")


class NewTokenAnswer(TokenAnswer):
    """A new join token: it is shown this once."""

    token: str


class RegisteredEdge(BaseModel):
    """A device of the fleet. Times in seconds since the epoch."""

    edge: str
    name: str
    labels: dict[str, str]
    public_key: str
    joined: float
    revoked: float | None


class JoinedAnswer(BaseModel):
    """The id, the name and the labels under which a device was admitted."""

    edge: str
    name: str
    labels: dict[str, str] = {}


class ProvisionAnswer(JoinedAnswer):
    """Keys and names for a device of the fleet."""

    trusted_keys: list[str] = Field([], description="Ed25519 in base64: whose models and notes it believes")
    fleet_key: str | None = Field(description="32 bytes in base64 that encrypt learned state")
    rotate_after: float = Field(description="seconds after which it makes a new credential")


def routes(settings: TrainerSettings, edges: Edges, tokens: JoinTokens) -> APIRouter:
    router = APIRouter(tags=["fleet"])
    joining = Joining(edges, tokens)
    registered = Annotated[Registration, Depends(device(edges))]

    @router.post(
        "/v1/fleet/tokens",
        summary="Make a token with which one device joins",
        status_code=201,
        responses={422: {}, 503: {}},
    )
    async def make_token(request: TokenRequest) -> NewTokenAnswer:
        plain, token = await tokens.make(**request.model_dump())
        answer = _token(token)
        audit.changed(None, answer.model_dump())
        return NewTokenAnswer(token=plain, **answer.model_dump())

    @router.get("/v1/fleet/tokens", summary="The join tokens", responses={503: {}})
    async def list_tokens() -> list[TokenAnswer]:
        return [_token(token) for token in await tokens.all()]

    @router.delete(
        "/v1/fleet/tokens/{token_id}",
        summary="Take a join token back",
        status_code=204,
        responses={404: {}, 409: {}, 503: {}},
    )
    async def delete_token(token_id: str) -> None:
        await tokens.delete(token_id)
        audit.changed({"id": token_id}, None)

    @router.post(
        "/v1/fleet/join",
        summary="Join the fleet",
        responses={401: {}, 403: {}, 409: {}, 413: {}, 422: {}, 503: {}},
        openapi_extra=SIGNED,
    )
    async def join(request: Request) -> JoinedAnswer:
        plain = await shown(request)
        registration = await joining.join(plain, await read_body(request, BODY_LIMIT))
        audit.asked_by_device(registration.edge, f"join token {digest_of(plain)[:ID_DIGITS]}")
        audit.changed(None, _edge(registration).model_dump())
        answer = JoinAnswer(edge=registration.edge, name=registration.name, labels=registration.labels)
        return JoinedAnswer(**msgspec.structs.asdict(answer))

    @router.get("/v1/fleet/provision", summary="Keys and names for this device", responses={401: {}, 503: {}})
    async def provision(registration: registered) -> ProvisionAnswer:
        key = settings.fleet_key_bytes()
        answer = Provision(
            edge=registration.edge,
            name=registration.name,
            labels=registration.labels,
            trusted_keys=settings.handed_out_keys(),
            fleet_key=base64.b64encode(key).decode() if key is not None else None,
            rotate_after=settings.credential_days * DAY_S,
        )
        return ProvisionAnswer(**msgspec.structs.asdict(answer))

    @router.post(
        "/v1/fleet/rotate",
        summary="Give this device another credential",
        status_code=204,
        responses={401: {}, 409: {}, 413: {}, 422: {}, 503: {}},
        openapi_extra=SIGNED,
    )
    async def rotate(request: Request, registration: registered) -> None:
        rotated = await edges.rotate(registration.edge, await read_body(request, BODY_LIMIT))
        audit.asked_by_device(registration.edge, "credential")
        audit.changed(_credential(registration), _credential(rotated))

    @router.get(
        "/v1/fleet/registrations",
        summary="The devices that have joined",
        responses={503: {}},
    )
    async def list_edges() -> list[RegisteredEdge]:
        return [_edge(registration) for registration in await edges.all()]

    @router.post(
        "/v1/fleet/edges/{edge}/revoke",
        summary="Cut a device off",
        responses={404: {}, 503: {}},
    )
    async def revoke(edge: str) -> RegisteredEdge:
        revoked = _edge(await edges.revoke(edge))
        audit.changed({"edge": edge}, {"edge": edge, "name": revoked.name, "revoked": revoked.revoked})
        return revoked

    return router


def _token(token: JoinToken) -> TokenAnswer:
    return TokenAnswer(
        id=token.digest[:ID_DIGITS],
        created=token.created,
        expires=token.expires,
        edge=token.edge,
        replaces=token.replaces,
        name=token.name,
        labels=token.labels,
        used_by=token.used_by,
    )


def _credential(registration: Registration) -> dict[str, object]:
    """For the audit: the digest's beginning, which tells credentials apart and lets nobody in."""
    newest = registration.credentials[-1]
    return {"edge": registration.edge, "credential": newest.digest[:ID_DIGITS]}


def _edge(registration: Registration) -> RegisteredEdge:
    kept = ("edge", "name", "labels", "public_key", "joined", "revoked")
    return RegisteredEdge(**{name: getattr(registration, name) for name in kept})
