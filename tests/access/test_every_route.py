"""Every route of every service, by every role: none is forgotten, and none lets in whom it should not."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from driftline.bus.memory import MemoryBus
from driftline.models.signing import Signer, new_key
from driftline.service.access.named_tokens import TokenList, new_token, text_of
from driftline.service.access.roles import ROLE_NAMES, RoleName
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline_combiner.app import create_app as create_combiner
from driftline_combiner.settings import CombinerSettings
from driftline_inference.app import create_app as create_inference
from driftline_inference.settings import InferenceSettings
from driftline_ingest.app import create_app as create_ingest
from driftline_ingest.settings import IngestSettings
from driftline_trainer.app import create_app as create_trainer
from driftline_trainer.settings import TrainerSettings
from tests.access.routes import routes_of

OPEN = {"GET /livez", "GET /readyz", "GET /login", "POST /logout"}
OF_INGEST = {f"POST {path}" for path in ("/v1/records", "/v1/futures", "/api/v2/write", "/write", "/query")}
OF_INFLUX_1 = {"POST /write", "POST /query"}
"""Telegraf drops a batch after a 403, and keeps it after a 404."""
OF_DEVICES = {
    *("GET /v1/store/object", "PUT /v1/store/object", "DELETE /v1/store/object", "GET /v1/store/list"),
    *("GET /v1/store/watch", "POST /v1/fleet/join", "GET /v1/fleet/provision", "POST /v1/fleet/rotate"),
}
NEEDED: dict[str, set[str]] = {
    "open": OPEN | {"GET /ping", "GET /health", "GET /v2/health/live", "GET /v2/health/ready"},
    "viewer": {
        *("POST /v2/models/{name}/infer", "POST /v2/models/{name}/versions/{wanted}/infer"),
        *("POST /v2/repository/index", *(f"POST /v2/repository/models/{{name}}/{how}" for how in ("load", "unload"))),
    },
    "sender": OF_INGEST | {"POST /v1/events/s3"},
    "operator": {
        *("GET /v1/fleet/tokens", "POST /v1/fleet/tokens", "DELETE /v1/fleet/tokens/{token_id}"),
        *("GET /v1/fleet/registrations", "POST /v1/fleet/edges/{edge}/revoke", "POST /v1/jobs"),
        *(f"{method} /v2/{{path:path}}" for method in ("POST", "PUT", "DELETE")),
        *(f"POST /v1/models/{{stream}}.{{member}}/{how}" for how in ("rollback", "pin")),
        *(f"POST /v1/rollouts/{{stream}}.{{member}}/{how}" for how in ("advance", "pause", "resume", "abort")),
    },
    "credential": OF_DEVICES | {"POST /login"},
}
"""What a route needs that is not a `GET` for viewers."""
TOKENS = {role: f"{role}-0123456789abcdefghijklmnopqrstuv" for role in ROLE_NAMES}
ENDLESS_S = 2.0

Make = Callable[[StreamDefinition, Path, Path], FastAPI]


def ingest(stream: StreamDefinition, folder: Path, tokens: Path) -> FastAPI:
    settings = IngestSettings(tokens_file=tokens, read="token")
    return create_ingest(settings, MemoryBus(), FolderStore(folder), streams={stream.name: stream})


def inference(stream: StreamDefinition, folder: Path, tokens: Path) -> FastAPI:
    settings = InferenceSettings(tokens_file=tokens, read="token", trusted_keys=Signer(new_key()).public)
    return create_inference(settings, MemoryBus(), FolderStore(folder), streams={stream.name: stream})


def combiner(stream: StreamDefinition, folder: Path, tokens: Path) -> FastAPI:
    return create_combiner(
        CombinerSettings(tokens_file=tokens, read="token"), MemoryBus(), streams={stream.name: stream}
    )


def trainer(stream: StreamDefinition, folder: Path, tokens: Path) -> FastAPI:
    settings = TrainerSettings(tokens_file=tokens, read="token", signing_key=SecretStr(new_key()), data_dir=folder)
    return create_trainer(settings, FolderStore(folder / "store"), streams={stream.name: stream})


MAKES: dict[str, Make] = {"ingest": ingest, "inference": inference, "combiner": combiner, "trainer": trainer}


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.yaml"
    path.write_text(
        text_of(TokenList(tuple(new_token(TOKENS[role], f"a-{role}", role, 0.0, None) for role in ROLE_NAMES)))
    )
    return path


@pytest.fixture(params=MAKES)
def app(request: pytest.FixtureRequest, temperature: StreamDefinition, tmp_path: Path, tokens: Path) -> FastAPI:
    return MAKES[request.param](temperature, tmp_path, tokens)


def needed(route: str) -> str:
    return next((kind for kind, routes in NEEDED.items() if route in routes), "viewer")


async def status(client: httpx.AsyncClient, route: str, role: RoleName | None) -> int:
    """The answer's; 200 where the answer has no end."""
    method, path = route.split(" ")
    headers = {"Authorization": f"Bearer {TOKENS[role]}"} if role is not None else {}
    asked = client.request(method, re.sub(r"\{[^}]*\}", "x", path), headers=headers)
    try:
        return (await asyncio.wait_for(asked, ENDLESS_S)).status_code
    except TimeoutError:
        return 200


async def test_a_route_lets_in_whoever_has_its_role_and_nobody_else(app: FastAPI):
    wrong = []
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://app"
    ) as client:
        for route in sorted(routes_of(app)):
            for role in (None, *ROLE_NAMES):
                answer, expected = await status(client, route, role), needed(route)
                if not is_right(route, answer, expected, role):
                    wrong.append((route, expected, role, answer))
    assert not wrong


def is_right(route: str, answer: int, expected: str, role: RoleName | None) -> bool:
    if expected == "open":
        return answer not in {401, 403} or role is None
    if expected == "credential":
        return answer == 401  # they ask for one of their own, and here none is shown
    if role is None:
        return answer == 401
    if ROLE_NAMES.index(role) < ROLE_NAMES.index(expected):
        return answer == 403 or (answer == 404 and route in OF_INFLUX_1)
    return answer not in {401, 403}


def test_only_what_does_not_look_changes_something(temperature: StreamDefinition, tmp_path: Path, tokens: Path):
    apps = [make(temperature, tmp_path, tokens) for make in MAKES.values()]
    routes = set().union(*map(routes_of, apps))
    told = set().union(*NEEDED.values())
    assert told <= routes, "the table names routes that there are no more"
    assert {route for route in routes - told if not route.startswith("GET ")} == set()
