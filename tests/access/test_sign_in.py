"""People sign in with a browser at a real OpenID Connect issuer, and what becomes of all that is not their sign-in."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from driftline.errors import InvalidInput
from driftline.metrics import Metrics
from driftline.service.access.code_flow import LASTS_S, CodeFlow
from driftline.service.access.gate import COOKIE, AccessGate
from driftline.service.access.issuer_login import LEAVING
from driftline.service.access.oidc import OidcIssuer
from driftline.service.access.opening import open_gate
from driftline.service.access.published_issuer import PublishedIssuer
from driftline.service.access.roles import OidcClient, OidcTerms
from driftline.service.access.sessions import LASTS_OF_ISSUER_S, Sessions
from driftline.service.settings import Settings, read_settings
from driftline_cli.named_tokens import new
from tests.access.issuer import CLIENT, SECRET, Issuer, running
from tests.access.test_gate import Clock, app_of
from tests.serving import served

KEY = b"key"


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running() as started:
        yield started


@asynccontextmanager
async def browser_at(issuer: Issuer, gate: AccessGate, *, registered: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client that keeps cookies and goes where it is led, as a browser."""
    async with served(app_of(gate, Metrics())) as address:
        if registered:
            issuer.redirects.add(f"http://{address}/login/callback")
        headers = {"Accept": "text/html"}
        async with httpx.AsyncClient(base_url=f"http://{address}", headers=headers, follow_redirects=True) as client:
            yield client


def settings_of(issuer: Issuer, **more: Any) -> Settings:
    return Settings(
        **{"oidc_issuer": issuer.url, "oidc_audience": "driftline", "oidc_client_id": CLIENT, "read": "token", **more}
    )


def gate_of(issuer: Issuer, **more: Any) -> AccessGate:
    return open_gate(settings_of(issuer, **more), Metrics())


def timed_gate(issuer: Issuer, clock: Clock, *, client_id: str = CLIENT) -> AccessGate:
    """The same with a clock of the test's."""
    terms = OidcTerms(
        issuer.url, "driftline", "roles", {"operator": "operator"}, OidcClient(client_id, None, None, "openid")
    )
    published = PublishedIssuer(issuer.url)
    flow = CodeFlow(terms.client, terms, published, KEY, clock=clock)
    refused = Metrics().requests_unauthorised
    return AccessGate(
        [OidcIssuer(terms, published)], Sessions(KEY), refused, closed=True, sign_in=flow, clock=clock, ticks=clock
    )


async def left_and_back(browser: httpx.AsyncClient, wanted: str = "look") -> tuple[httpx.Response, httpx.URL]:
    """The answer that leads to the issuer, and where the issuer leads to; nobody has gone there yet."""
    left = await browser.get("/login/issuer", params={"next": wanted}, follow_redirects=False)
    returned = await browser.get(left.headers["location"], follow_redirects=False)
    return left, httpx.URL(returned.headers["location"])


async def test_somebody_signs_in_reads_what_they_wanted_and_signs_out(issuer: Issuer):
    async with browser_at(issuer, gate_of(issuer)) as browser:
        form = await browser.get("/look?a=1%262&b=%C3%A9")
        assert form.url.path == "/login"
        assert f"Sign in with {issuer.host}" in form.text
        seen = await browser.get("/login/issuer", params={"next": "look?a=1%262&b=%C3%A9"})
        assert (seen.status_code, seen.text) == (200, '"seen"')
        assert str(seen.url) == f"{browser.base_url}/look?a=1%262&b=%C3%A9".replace("//look", "/look")
        assert LEAVING not in browser.cookies
        assert (await browser.get("/metrics")).status_code == 200
        assert (await browser.post("/change")).status_code == 403
        assert "You read here as <strong>ada</strong>" in (await browser.get("/login")).text
        signed_out = await browser.post("/logout")
        assert signed_out.url.path == "/login"
        assert "You read here" not in signed_out.text
        assert COOKIE not in browser.cookies
        assert (await browser.get("/look")).url.path == "/login"


async def test_the_link_of_the_form_leads_to_the_page_that_was_wanted(issuer: Issuer):
    async with browser_at(issuer, gate_of(issuer)) as browser:
        form = await browser.get("/look?a=1")
        link = form.text.partition('href="')[2].partition('"')[0]
        assert (await browser.get(form.url.join(link))).text == '"seen"'


async def test_no_cookie_holds_a_token_of_the_issuer_and_scripts_read_none(issuer: Issuer):
    async with browser_at(issuer, gate_of(issuer)) as browser:
        left, url = await left_and_back(browser)
        entered = await browser.get(url, follow_redirects=False)
        for cookie in (*left.headers.get_list("set-cookie"), *entered.headers.get_list("set-cookie")):
            assert "HttpOnly" in cookie
            assert "SameSite=lax" in cookie
            assert "eyJhbGciOi" not in cookie
        session = next(c for c in entered.headers.get_list("set-cookie") if c.startswith(f"{COOKIE}="))
        assert f"Max-Age={int(LASTS_OF_ISSUER_S)}" in session


@pytest.mark.parametrize("methods", [None, ["client_secret_post"], ["private_key_jwt", "client_secret_basic"]], ids=str)
async def test_a_client_with_a_secret_shows_it_as_its_issuer_wants(issuer: Issuer, methods: list[str] | None):
    issuer.secret, issuer.methods = SECRET.replace(" ", "+"), methods
    gate = gate_of(issuer, oidc_client_secret=SecretStr(issuer.secret))
    async with browser_at(issuer, gate) as browser:
        assert (await browser.get("/login/issuer?next=look")).text == '"seen"'


async def test_a_wrong_secret_is_said_to_be_the_services_fault_and_not_shown(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
):
    issuer.secret = SECRET
    async with browser_at(issuer, gate_of(issuer, oidc_client_secret=SecretStr("hush-hush"))) as browser:
        answer = await browser.get("/login/issuer")
        assert (answer.status_code, "invalid_client" in answer.text) == (503, True)
    assert "invalid_client" in caplog.text
    assert "hush-hush" not in caplog.text


async def test_a_person_without_a_role_is_told_which_claim_has_none(issuer: Issuer):
    issuer.person = {"roles": ["stranger"], "sub": "<b>eve</b>"}
    async with browser_at(issuer, gate_of(issuer)) as browser:
        answer = await browser.get("/login/issuer")
        assert (answer.status_code, "roles" in answer.text, "<b>" in answer.text) == (403, True, False)
        assert COOKIE not in browser.cookies


async def test_a_person_who_refuses_is_back_at_the_form(issuer: Issuer):
    issuer.person = None
    async with browser_at(issuer, gate_of(issuer)) as browser:
        answer = await browser.get("/login/issuer")
        assert (answer.status_code, "access_denied" in answer.text) == (400, True)
        again = answer.text.partition('href="')[2].partition('"')[0]
        issuer.person = {}
        assert (await browser.get(answer.url.join(again))).status_code == 404  # the service has no page at `/`
        assert (await browser.get("/look")).text == '"seen"'


OF_OTHERS: list[dict[str, Any]] = [
    {"nonce": "of-another-sign-in"},
    {"nonce": None},
    {"nonce": 7},
    {"aud": "driftline"},
    {"aud": [CLIENT, "other"], "azp": "other"},
    {"iss": "https://other.example"},
    {"exp": 1.0},
    {"sub": None},
    {"iat": None},
]


async def test_an_id_token_that_is_not_for_this_sign_in_lets_nobody_in(issuer: Issuer):
    async with browser_at(issuer, gate_of(issuer)) as browser:
        for issuer.person in OF_OTHERS:
            assert (await browser.get("/login/issuer")).status_code == 401, issuer.person
            assert COOKIE not in browser.cookies


SPOILT: dict[str, Callable[[httpx.QueryParams], httpx.QueryParams]] = {
    "another state": lambda query: query.set("state", "x" * 43),
    "no state": lambda query: query.remove("state"),
    "a state that is no text": lambda query: query.set("state", "\udcff\x00é".encode("utf-8", "replace").decode()),
    "no code": lambda query: query.remove("code"),
    "a code that is huge": lambda query: query.set("code", "x" * 5000),
    "another issuer": lambda query: query.set("iss", "https://other.example"),
}


async def test_a_return_that_is_spoilt_is_refused_before_the_issuer_is_asked(issuer: Issuer):
    async with browser_at(issuer, gate_of(issuer)) as browser:
        for name, spoil in SPOILT.items():
            issuer.grants.clear()
            _, url = await left_and_back(browser)
            assert (await browser.get(url.copy_with(params=spoil(url.params)))).status_code == 400, name
            assert len(issuer.grants) == 1, f"the code was used: {name}"
            assert COOKIE not in browser.cookies


async def test_a_return_without_its_own_note_is_refused(issuer: Issuer):
    """As where somebody else's page sends a browser to a code of its own: it would sign the reader in as another."""
    async with browser_at(issuer, gate_of(issuer)) as browser:
        _, url = await left_and_back(browser)
        browser.cookies.clear()
        for note in ("", "x", "x.y", "W10=.W10=", "A" * 5000, "é.é"):
            answer = await browser.get(url, headers={b"Cookie": f"{LEAVING}={note}".encode()})
            assert (answer.status_code, len(issuer.grants)) == (400, 1), note


async def test_a_session_is_no_note_and_a_note_is_no_session(issuer: Issuer):
    async with browser_at(issuer, gate_of(issuer)) as browser:
        left, url = await left_and_back(browser)
        note = left.cookies[LEAVING]
        await browser.get(url, follow_redirects=False)
        session = browser.cookies[COOKIE]
        browser.cookies.clear()
        as_session = await browser.get("/look", headers={"Cookie": f"{COOKIE}={note}", "Accept": "*/*"})
        assert as_session.status_code == 401
        as_note = await browser.get("/login/callback?code=x&state=ada", headers={"Cookie": f"{LEAVING}={session}"})
        assert as_note.status_code == 400


async def test_a_code_enters_once(issuer: Issuer):
    async with browser_at(issuer, gate_of(issuer)) as browser:
        left, url = await left_and_back(browser)
        note = {"Cookie": f"{LEAVING}={left.cookies[LEAVING]}"}
        browser.cookies.clear()
        at_once = (browser.get(url, headers=note, follow_redirects=False) for _ in range(4))
        assert sorted(answer.status_code for answer in await asyncio.gather(*at_once)) == [303, 401, 401, 401]


async def test_a_stolen_code_enters_in_no_other_browser(issuer: Issuer):
    """Its state is exchanged for the thief's own: PKCE and the nonce bind it to the sign-in that it is of."""
    async with browser_at(issuer, gate_of(issuer)) as browser:
        _, stolen = await left_and_back(browser)
        mine, _ = await left_and_back(browser)
        state = httpx.URL(mine.headers["location"]).params["state"]
        assert (await browser.get(stolen.copy_with(params=stolen.params.set("state", state)))).status_code == 401


async def test_guessed_codes_wait_like_guessed_tokens(issuer: Issuer):
    async with browser_at(issuer, timed_gate(issuer, Clock())) as browser:
        left = await browser.get("/login/issuer", follow_redirects=False)
        state = httpx.URL(left.headers["location"]).params["state"]
        callbacks = [f"/login/callback?state={state}&code=guess-{n}" for n in range(22)]
        assert [(await browser.get(callback)).status_code for callback in callbacks] == [401] * 20 + [429] * 2


async def test_a_session_ends_after_its_time_and_so_does_a_sign_in_that_is_not_finished(issuer: Issuer):
    clock = Clock()
    async with browser_at(issuer, timed_gate(issuer, clock)) as browser:
        assert (await browser.get("/login/issuer?next=look")).text == '"seen"'
        clock.now += LASTS_OF_ISSUER_S - 1
        assert (await browser.get("/look")).text == '"seen"'
        clock.now += 2
        assert (await browser.get("/look")).url.path == "/login"
        _, url = await left_and_back(browser)
        clock.now += LASTS_S + 1
        assert (await browser.get(url)).status_code == 400


async def test_sessions_of_another_client_are_none(issuer: Issuer):
    clock = Clock()
    async with browser_at(issuer, timed_gate(issuer, clock)) as browser:
        await browser.get("/login/issuer")
        session = {"Cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
    async with browser_at(issuer, timed_gate(issuer, clock)) as browser:
        assert (await browser.get("/look", headers=session)).text == '"seen"'
    async with browser_at(issuer, timed_gate(issuer, clock, client_id="other")) as browser:
        assert (await browser.get("/look", headers=session)).url.path == "/login"


async def test_the_way_back_leads_to_no_other_host(issuer: Issuer):
    async with browser_at(issuer, gate_of(issuer)) as browser:
        for wanted in (
            "//evil.example",
            "https://evil.example",
            "\\\\evil.example",
            "../../..//evil.example",
            "x" * 9000,
            "é😀" * 500,
        ):
            _, url = await left_and_back(browser, wanted)
            entered = await browser.get(url, follow_redirects=False)
            assert entered.status_code == 303
            assert entered.url.join(entered.headers["location"]).host == "127.0.0.1"


async def test_without_its_issuer_the_form_stays_and_named_tokens_still_sign_in(issuer: Issuer, tmp_path: Path):
    token = new(tmp_path / "tokens.yaml", "ada", "viewer", None)
    issuer.away = True
    async with browser_at(issuer, gate_of(issuer, tokens_file=tmp_path / "tokens.yaml")) as browser:
        assert (await browser.get("/login")).status_code == 200
        answer = await browser.get("/login/issuer")
        assert (answer.status_code, "does not answer" in answer.text) == (503, True)
        assert (await browser.post("/login", data={"token": token, "next": "look"})).text == '"seen"'


async def test_an_issuer_that_ends_meanwhile_lets_nobody_in_until_it_is_back(issuer: Issuer):
    async with browser_at(issuer, gate_of(issuer)) as browser:
        _, url = await left_and_back(browser)
        issuer.away = True
        assert (await browser.get(url)).status_code == 503
        issuer.away = False
        assert (await browser.get(url, follow_redirects=False)).status_code == 303


async def test_behind_a_proxy_people_come_back_to_its_address_by_https(issuer: Issuer):
    back = "https://drift.example.org/heat/login/callback"
    issuer.redirects.add(back)
    async with browser_at(issuer, gate_of(issuer, oidc_redirect=back), registered=False) as browser:
        left, url = await left_and_back(browser)
        assert "Secure" in left.headers["set-cookie"]
        assert str(url).startswith(back)
        note = {"Cookie": left.headers["set-cookie"].partition(";")[0]}
        entered = await browser.get(f"/login/callback?{url.query.decode()}", headers=note, follow_redirects=False)
        assert str(url.join(entered.headers["location"])) == "https://drift.example.org/heat/look"
        assert all("Secure" in c for c in entered.headers.get_list("set-cookie") if c.startswith(f"{COOKIE}="))


async def test_without_a_client_id_there_is_no_such_sign_in(issuer: Issuer):
    async with browser_at(issuer, gate_of(issuer, oidc_client_id=None)) as browser:
        assert "Sign in with" not in (await browser.get("/login")).text
        for path in ("/login/issuer", "/login/callback"):
            assert (await browser.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"oidc_client_id": "x"}, "DRIFTLINE_OIDC_ISSUER: found nothing"),
        ({"oidc_client_secret": "hush"}, "DRIFTLINE_OIDC_CLIENT_ID: found nothing"),
        ({"oidc_redirect": "https://x/login/callback"}, "DRIFTLINE_OIDC_CLIENT_ID: found nothing"),
        ({"oidc_client_id": "x", "oidc_redirect": "https://x/callback"}, "ends in /login/callback"),
        ({"oidc_client_id": "x", "oidc_redirect": "x/login/callback"}, "a URL"),
        ({"oidc_client_id": "x", "oidc_scope": "profile"}, "openid"),
    ],
    ids=str,
)
def test_settings_that_can_not_sign_anybody_in_are_named_at_the_start(given: dict[str, str], said: str):
    issuer = {} if said.startswith("DRIFTLINE_OIDC_ISSUER") else {"oidc_issuer": "https://x", "oidc_audience": "y"}
    with pytest.raises(InvalidInput, match=said) as caught:
        read_settings(Settings, **issuer, **given)
    assert "hush" not in str(caught.value)
