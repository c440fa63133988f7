"""What the gate takes for a credential, for how long, how often, and what it writes of it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from driftline.errors import InvalidInput
from driftline.metrics import Metrics
from driftline.service.access import audit, named_tokens, token_file
from driftline.service.access.gate import AccessGate, Authority, SharedToken
from driftline.service.access.named_tokens import new_token
from driftline.service.access.opening import open_gate
from driftline.service.access.sessions import LASTS_S, Sessions
from driftline.service.access.token_file import TokenFile
from driftline.service.app import create_service
from driftline.service.logs import JsonFormatter
from driftline.service.settings import Settings
from driftline_cli.named_tokens import new, revoke

SHARED = "hush-hush-hush"
GRAFANA = f"name: grafana\n  role: viewer\n  sha256: {'0a' * 32}"
TWICE = "tokens:\n" + "".join(f"- {{name: a, role: viewer, sha256: {letter * 64}}}\n" for letter in "ab")


def app_of(gate: AccessGate, metrics: Metrics) -> FastAPI:
    app = create_service("x", "x", metrics=metrics, gate=gate)

    @app.get("/look")
    async def look() -> str:
        return "seen"

    @app.post("/change")
    async def change() -> str:
        audit.changed({"level": 1}, {"level": 2})
        return "changed"

    return app


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def client_of(
    settings: Settings, *, clock: Callable[[], float] | None = None, address: str = "192.0.2.1"
) -> AsyncIterator[httpx.AsyncClient]:
    metrics = Metrics()
    if clock is None:
        gate = open_gate(settings, metrics)
    else:
        authorities: list[Authority] = (
            [SharedToken(SHARED), TokenFile(settings.tokens_file, clock)] if settings.tokens_file else []
        )
        gate = AccessGate(
            authorities, Sessions(b"key"), metrics.requests_unauthorised, closed=True, clock=clock, ticks=clock
        )
    transport = httpx.ASGITransport(app_of(gate, metrics), client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        yield client


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "tokens.yaml"


def put(path: Path, text: str) -> None:
    path.write_text(text)


def shown(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_with_the_one_token_alone_all_is_as_it_was(tmp_path: Path):
    async with client_of(Settings(token=SecretStr(SHARED), host="0.0.0.0")) as client:  # noqa: S104
        assert (await client.get("/look")).status_code == 200
        assert (await client.post("/change")).status_code == 401
        assert (await client.post("/change", headers=shown(SHARED))).status_code == 200


async def test_with_named_tokens_reading_is_closed_beyond_this_machine_and_open_on_it(tokens: Path):
    viewer = new(tokens, "grafana", "viewer", None)
    async with client_of(Settings(tokens_file=tokens)) as client:
        assert (await client.get("/look")).status_code == 200
    async with client_of(Settings(tokens_file=tokens, host="0.0.0.0")) as client:  # noqa: S104
        assert (await client.get("/look")).status_code == 401
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/look", headers=shown(viewer))).status_code == 200
        assert (await client.post("/change", headers=shown(viewer))).status_code == 403
        assert (await client.get("/readyz")).status_code == 200
    async with client_of(Settings(tokens_file=tokens, host="0.0.0.0", read="open")) as client:  # noqa: S104
        assert (await client.get("/look")).status_code == 200


async def test_a_token_that_is_revoked_or_over_is_refused_from_the_next_request_on(tokens: Path):
    clock = Clock()
    first, second = new(tokens, "first", "operator", None), "second-token-of-256-random-bits"
    token_file.change(tokens, lambda t: named_tokens.with_new(t, new_token(second, "second", "viewer", clock.now, 1.0)))
    async with client_of(Settings(tokens_file=tokens), clock=clock) as client:
        assert (await client.post("/change", headers=shown(first))).status_code == 200
        revoke(tokens, "first")
        assert (await client.post("/change", headers=shown(first))).status_code == 401
        assert (await client.get("/look", headers=shown(second))).status_code == 200
        clock.now += 86_401
        assert (await client.get("/look", headers=shown(second))).status_code == 401


async def test_a_file_that_breaks_changes_nothing_and_is_read_again_once_it_is_whole(
    tokens: Path, caplog: pytest.LogCaptureFixture
):
    first = new(tokens, "first", "viewer", None)
    whole = named_tokens.text_of(token_file.read(tokens))
    async with client_of(Settings(tokens_file=tokens, read="token")) as client:
        for broken in ("tokens: [", "tokens: 7", "\x00", "tokens:\n- {name: a, role: king, sha256: b}"):
            put(tokens, broken)
            assert (await client.get("/look", headers=shown(first))).status_code == 200
        assert "stay as they were" in caplog.text
        put(tokens, "tokens: []\n")
        assert (await client.get("/look", headers=shown(first))).status_code == 401
        put(tokens, whole)
        assert (await client.get("/look", headers=shown(first))).status_code == 200


def test_a_file_that_can_not_be_used_is_said_at_the_start(tokens: Path):
    for text, said in (
        ("tokens: [", "line 1"),
        ("tokens: " + "[" * 50_000, "lists in lists without end"),
        ("tokens:\n- {name: a, role: king, sha256: b}", "king"),
        (TWICE, "twice"),
        ("tokens:\n- {name: a, role: viewer, sha256: my-token}", "sha256"),
        (f"tokens:\n- {GRAFANA}\n  name: eve\n", "line 5: found 'name' for the second time, expected it once"),
        (f"tokens: []\ntokens:\n- {GRAFANA}\n", "line 2: found 'tokens' for the second time, expected it once"),
        (f"tokens:\n- {GRAFANA}\n  created: 2026-13-45\n", "can't be used"),
    ):
        tokens.write_text(text)
        with pytest.raises(InvalidInput, match=said) as caught:
            TokenFile(tokens)
        assert "my-token" not in str(caught.value)
    with pytest.raises(InvalidInput, match="can be read"):
        TokenFile(tokens.parent / "nowhere.yaml")


async def test_whoever_guesses_waits_and_whoever_was_let_in_goes_on(tokens: Path):
    clock = Clock()
    good, late = new(tokens, "good", "viewer", None), new(tokens, "late", "viewer", None)
    async with client_of(Settings(tokens_file=tokens), clock=clock) as client:
        assert (await client.get("/look", headers=shown(good))).status_code == 200
        guesses = [await client.get("/look", headers=shown(f"guess {n}")) for n in range(30)]
        assert [answer.status_code for answer in guesses] == [401] * 20 + [429] * 10
        assert int(guesses[-1].headers["Retry-After"]) > 0
        assert (await client.get("/look", headers=shown(good))).status_code == 200
        assert (await client.get("/look", headers=shown(late))).status_code == 429
        clock.now += 3.1
        assert (await client.get("/look", headers=shown(late))).status_code == 200
        text = (await client.get("/metrics", headers=shown(good))).text
        assert 'driftline_requests_unauthorised_total{reason="wrong"} 20.0' in text
        assert 'driftline_requests_unauthorised_total{reason="limited"} 11.0' in text


async def test_a_change_is_written_with_who_from_where_and_what_it_was(tokens: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "driftline.audit")
    ada, viewer = new(tokens, "ada", "operator", None), new(tokens, "eve", "viewer", None)
    async with client_of(Settings(tokens_file=tokens)) as client:
        await client.post("/change", headers=shown(ada))
        await client.post("/change", headers=shown(viewer))
        await client.post("/change", headers=shown("wrong"))
        await client.get("/look", headers=shown(ada))
    (record,) = [record for record in caplog.records if record.name == "driftline.audit"]
    line = json.loads(JsonFormatter().format(record))
    assert {name: line[name] for name in ("who", "role", "from", "method", "path", "status", "before", "after")} == {
        "who": "ada",
        "role": "operator",
        "from": "192.0.2.1",
        "method": "POST",
        "path": "/change",
        "status": 200,
        "before": {"level": 1},
        "after": {"level": 2},
    }
    assert ada not in caplog.text
    assert viewer not in caplog.text


async def test_a_browser_signs_in_and_then_reads_but_changes_nothing(tokens: Path):
    operator = new(tokens, "ada", "operator", None)
    clock = Clock()
    async with client_of(Settings(tokens_file=tokens), clock=clock) as client:
        led = await client.get("/look?a=1", headers={"Accept": "text/html"})
        assert (led.status_code, led.headers["location"]) == (303, "login?next=look%3Fa%3D1")
        form = {"token": operator, "next": "look?a=1"}
        entered = await client.post(
            "/login", data=form, headers={"Origin": "https://x", "Sec-Fetch-Site": "same-origin"}
        )
        assert (entered.status_code, entered.headers["location"]) == (303, "./look?a=1")
        cookie = entered.headers["set-cookie"]
        assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Secure", "Path=/"))
        assert operator not in cookie
        session = {"Cookie": cookie.partition(";")[0]}
        assert (await client.get("/look", headers=session)).status_code == 200
        assert (await client.post("/change", headers=session)).status_code == 403
        clock.now += LASTS_S + 1
        assert (await client.get("/look", headers=session)).status_code == 401
        clock.now -= LASTS_S + 1
        revoke(tokens, "ada")
        assert (await client.get("/look", headers=session)).status_code == 401


@pytest.mark.parametrize("cookie", ["x", "x.y", ".", "eyJ9.AAAA", "é.é", "W10=.W10=", "A" * 5000])
async def test_a_session_that_was_not_sealed_here_is_none(tokens: Path, cookie: str):
    new(tokens, "ada", "operator", None)
    async with client_of(Settings(tokens_file=tokens, read="token")) as client:
        headers = {b"Cookie": f"driftline={cookie}".encode()}
        assert (await client.get("/look", headers=headers)).status_code == 401


async def test_the_login_leads_nowhere_else_and_no_other_page_signs_anybody_in(tokens: Path):
    token = new(tokens, "ada", "viewer", None)
    async with client_of(Settings(tokens_file=tokens, read="token")) as client:
        for wanted in ("//evil.example", "https://evil.example", "\\\\evil.example", "a\r\nSet-Cookie: b=c"):
            answer = await client.post("/login", data={"token": token, "next": wanted})
            assert answer.headers["location"].startswith("./")
            assert httpx.URL("http://x/login").join(answer.headers["location"]).host == "x"
        refused = await client.post("/login", data={"token": token}, headers={"Sec-Fetch-Site": "cross-site"})
        assert refused.status_code == 403
        wrong = await client.post("/login", data={"token": "wrong", "next": '"><script>'})
        assert (wrong.status_code, "<script>" in wrong.text, "set-cookie" in wrong.headers) == (401, False, False)


async def test_two_commands_at_once_lose_no_token(tokens: Path):
    await asyncio.gather(*(asyncio.to_thread(new, tokens, f"t{n}", "viewer", None) for n in range(20)))
    assert len(token_file.read(tokens).tokens) == 20


def test_nobody_but_its_owner_reads_the_file(tokens: Path):
    new(tokens, "ada", "viewer", None)
    assert tokens.stat().st_mode & 0o777 == 0o600
    tokens.chmod(0o640)
    new(tokens, "eve", "viewer", None)
    assert tokens.stat().st_mode & 0o777 == 0o640
