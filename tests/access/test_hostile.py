"""What somebody sends who wants in, and what may become of the file of tokens meanwhile."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.responses import StreamingResponse
from starlette.types import Message

from driftline.metrics import Metrics
from driftline.service.access import token_file
from driftline.service.access.attempts import ADDRESSES, Attempts
from driftline.service.access.gate import AccessGate
from driftline.service.access.guard import AGAIN_S, Guard
from driftline.service.access.named_tokens import SHARED, mark_of
from driftline.service.access.roles import Caller, Role, RouteRoles
from driftline.service.access.sessions import LASTS_S, Sessions
from driftline.service.access.token_file import BYTES_LIMIT, TokenFile
from driftline.service.problems import problem
from driftline.service.settings import Settings
from driftline_cli.named_tokens import new, revoke
from driftline_combiner.settings import CombinerSettings
from tests.access.test_gate import Clock, client_of, shown


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "tokens.yaml"


@asynccontextmanager
async def closed(tokens: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(Settings(tokens_file=tokens, read="token")) as client:
        yield client


PATHS = [
    *("//livez", "/livez/", "/livez/../look", "/./look", "/look/", "//look", "/%6cook", "/look%00", "/look%0a"),
    *("/livez%0a", "/livez%2f..%2flook", "/login/../look", "/LOOK", "/look;a=b", "/look%3fa", "/metrics", "/docs"),
    *("/openapi.json", "/docs/problems", "//evil.example/%5B", "/%c3%a9", "/%ff"),
]


@pytest.mark.parametrize("path", PATHS)
async def test_no_spelling_of_a_path_leads_past_the_gate(tokens: Path, path: str):
    new(tokens, "ada", "operator", None)
    async with closed(tokens) as client:
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE", "*", "CONNECT"):
            # Built by hand, since the client tidies up paths.
            url = client.base_url.copy_with(raw_path=path.encode())
            answer = await client.request(method, url, headers={"Accept": "text/html"})
            expected = {401, 303} if method == "GET" else {401}
            assert answer.status_code in expected, (method, answer.status_code)


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer\ttoken", "Bearer é", "Bearer \x80\xff", "Bearer " + "a" * 60_000],
    ids=repr,
)
async def test_what_is_no_token_is_refused_whatever_it_is(tokens: Path, value: str):
    new(tokens, "ada", "operator", None)
    async with closed(tokens) as client:
        answer = await client.get("/look", headers={b"Authorization": value.encode("latin-1")})
        assert answer.status_code == 401


async def test_two_credentials_are_one_too_many(tokens: Path):
    token = new(tokens, "ada", "operator", None)
    async with closed(tokens) as client:
        good, bad = ("Authorization", f"Bearer {token}"), ("authorization", "Bearer x")
        for headers in ([good, bad], [bad, good], [good, good]):
            assert (await client.post("/change", headers=headers)).status_code == 400


async def test_a_session_reads_metrics_and_no_method_lets_it_change_something(tokens: Path):
    token = new(tokens, "ada", "operator", None)
    async with closed(tokens) as client:
        entered = await client.post("/login", data={"token": token})
        session = {"Cookie": entered.headers["set-cookie"].partition(";")[0]}
        assert (await client.get("/metrics", headers=session)).status_code == 200
        overriding = {"X-HTTP-Method-Override": "POST", "X-Original-URL": "/change", **session}
        assert (await client.get("/change", headers=overriding)).status_code == 405
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert (await client.request(method, "/change", headers=session)).status_code == 403


async def test_of_a_clock_that_was_set_back_no_session_becomes_endless():
    sessions, now = Sessions(b"key"), 1_000_000.0
    cookie = sessions.seal(Caller("ada", Role.VIEWER, "token", "m"), now + 10 * 365 * 86_400)
    assert sessions.open(cookie, now) is None
    assert sessions.open(sessions.seal(Caller("ada", Role.VIEWER, "token", "m"), now + 1), now) is not None
    assert sessions.open(sessions.seal(Caller("ada", Role.VIEWER, "token", "m"), now), now + LASTS_S) is None


def test_guesses_from_any_number_of_addresses_take_bounded_memory():
    attempts = Attempts()
    for n in range(3 * ADDRESSES):
        attempts.failed(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", f"wrong {n}", 0.0)
        attempts.succeeded(f"good {n}")
    assert len(attempts._until) <= ADDRESSES
    assert len(attempts._good) <= ADDRESSES


IN_ITS_PLACE: dict[str, Callable[[Path], object]] = {
    "nothing": Path.exists,
    "a folder": lambda path: path.mkdir(),
    "a pipe that nobody writes": os.mkfifo,
    "a link to itself": lambda path: path.symlink_to(path),
    "a huge file": lambda path: path.write_bytes(b"#" * (BYTES_LIMIT + 1)),
    "lists in lists": lambda path: path.write_text("[" * 5000),
}


def replace(path: Path, put: Callable[[Path], object]) -> None:
    path.unlink(missing_ok=True)
    put(path)


@pytest.mark.parametrize("put", IN_ITS_PLACE.values(), ids=IN_ITS_PLACE)
async def test_whatever_comes_in_place_of_the_file_the_tokens_stay_as_they_were(
    tokens: Path, put: Callable[[Path], object]
):
    token = new(tokens, "ada", "viewer", None)
    async with closed(tokens) as client:
        replace(tokens, put)
        assert (await client.get("/look", headers=shown(token))).status_code == 200


async def test_a_file_that_a_link_leads_to_is_read_again_when_the_link_leads_elsewhere(tokens: Path, tmp_path: Path):
    """As Kubernetes replaces a secret."""
    token = new(tmp_path / "old.yaml", "ada", "viewer", None)
    new(tmp_path / "new.yaml", "eve", "viewer", None)
    replace(tokens, lambda path: path.symlink_to(tmp_path / "old.yaml"))
    async with closed(tokens) as client:
        assert (await client.get("/look", headers=shown(token))).status_code == 200
        replace(tokens, lambda path: path.symlink_to(tmp_path / "new.yaml"))
        assert (await client.get("/look", headers=shown(token))).status_code == 401


def test_a_link_to_the_file_stays_a_link(tokens: Path, tmp_path: Path):
    new(tmp_path / "real.yaml", "ada", "viewer", None)
    tokens.symlink_to(tmp_path / "real.yaml")
    new(tokens, "eve", "viewer", None)
    assert tokens.is_symlink()
    assert len(token_file.read(tmp_path / "real.yaml").tokens) == 2


async def test_a_mark_that_a_session_shows_lets_nobody_in_as_a_token(tokens: Path):
    token = new(tokens, "ada", "operator", None)
    file = TokenFile(tokens)
    caller = await file.caller(token)
    assert caller is not None
    assert await file.known("ada", caller.mark) == caller
    assert await file.known("eve", caller.mark) is None
    assert await file.known(SHARED, mark_of("")) is None
    for guess in (caller.mark, token_file.read(tokens).tokens[0].sha256):
        assert await file.caller(guess) is None


async def test_an_answer_that_goes_on_ends_with_the_token(tokens: Path):
    """Such as live events, which a page reads for days."""
    token, ticks = new(tokens, "ada", "viewer", None), Clock()
    app = FastAPI()

    @app.get("/live")
    async def live() -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            yield "first"
            ticks.now += AGAIN_S + 1
            yield "second"
            revoke(tokens, "ada")
            yield "third"
            ticks.now += AGAIN_S + 1
            yield "fourth"

        return StreamingResponse(events())

    gate = AccessGate([TokenFile(tokens)], Sessions(b"key"), Metrics().requests_unauthorised, closed=True)
    guard = Guard(
        app, gate=gate, roles=RouteRoles(), refuse=lambda e: problem(e.status_code, str(e.detail)), ticks=ticks
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://x") as client:
        assert (await client.get("/live", headers=shown(token))).text == "firstsecondthird"


async def test_no_websocket_is_open():
    reached, sent = [], list[Message]()

    async def app(*_: object) -> None:
        reached.append(1)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    gate = AccessGate([], Sessions(b"key"), Metrics().requests_unauthorised, closed=False)
    guard = Guard(app, gate=gate, roles=RouteRoles(), refuse=lambda e: problem(e.status_code, str(e.detail)))
    await guard({"type": "websocket", "path": "/v1/live"}, receive, send)
    assert (reached, [message["type"] for message in sent]) == ([], ["websocket.close"])


def test_the_page_shows_the_other_services_no_more_than_a_viewers_token():
    shared, viewer = SecretStr("hush-hush-hush"), SecretStr("look-look-look")
    assert CombinerSettings(token=shared).page_shows() is None
    assert CombinerSettings(token=shared, read="token").page_shows() == "hush-hush-hush"
    assert CombinerSettings(token=shared, read="token", page_token=viewer).page_shows() == "look-look-look"
