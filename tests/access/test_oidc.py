"""Tokens of a real OpenID Connect issuer: which are believed, and what they let do."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from driftline.errors import Unavailable
from driftline.service.access.oidc import OidcIssuer
from driftline.service.access.published_issuer import BETWEEN_S, FRESH_S, STALE_S, PublishedIssuer
from driftline.service.access.roles import OidcTerms, Role
from driftline.service.settings import Settings
from tests.access.issuer import Issuer, running
from tests.access.test_gate import Clock, client_of, shown


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running() as started:
        yield started


def of(issuer: Issuer, clock: Clock | None = None, claim: str = "roles") -> OidcIssuer:
    roles = {"viewer": "viewer", "sender": "sender", "operator": "operator", "admins": "operator"}
    terms = OidcTerms(issuer.url, "driftline", claim, roles)  # type: ignore[arg-type]
    return OidcIssuer(terms, PublishedIssuer(issuer.url, clock or Clock()))


async def test_at_a_service_it_gives_the_role_of_its_claim(issuer: Issuer):
    settings = Settings(oidc_issuer=issuer.url, oidc_audience="driftline", read="token")
    async with client_of(settings) as client:
        assert (await client.get("/look")).status_code == 401
        assert (await client.post("/change", headers=shown(issuer.token()))).status_code == 200
        viewer = shown(issuer.token(roles="viewer"))
        assert (await client.get("/look", headers=viewer)).status_code == 200
        assert (await client.post("/change", headers=viewer)).status_code == 403
        assert (await client.get("/look", headers=shown(issuer.token(roles=["stranger"])))).status_code == 401


@pytest.mark.parametrize(
    ("claim", "value", "role"),
    [
        ("roles", ["viewer", "sender", "x"], Role.SENDER),
        ("scope", "openid viewer", Role.VIEWER),
        ("realm_access.roles", {"roles": ["admins"]}, Role.OPERATOR),
        ("https://x.org/roles", ["viewer"], Role.VIEWER),
        ("roles", {"viewer": True}, None),
        ("roles", [["viewer"], 7], None),
        ("roles", None, None),
    ],
)
async def test_the_highest_role_of_the_claim_counts(issuer: Issuer, claim: str, value: Any, role: Role | None):
    name = "realm_access" if claim.startswith("realm") else claim
    caller = await of(issuer, claim=claim).caller(issuer.token(**{"roles": None, name: value}))
    assert (caller.role if caller else None) == role


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "other"},
        {"aud": None},
        {"iss": "https://other.example"},
        {"iss": None},
        {"exp": 1.0},
        {"exp": None},
        {"nbf": 9e9},
        {"sub": None},
    ],
    ids=str,
)
async def test_what_is_not_for_us_or_not_now_is_refused(issuer: Issuer, changed: dict[str, Any]):
    assert await of(issuer).caller(issuer.token(**changed)) is None


async def test_clocks_may_be_a_minute_apart(issuer: Issuer):
    oidc, now = of(issuer), time.time()
    assert await oidc.caller(issuer.token(exp=now - 20)) is not None
    assert await oidc.caller(issuer.token(nbf=now + 20)) is not None
    assert await oidc.caller(issuer.token(exp=now - 120)) is None


def part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def by_secret(claims: Any, kid: str, secret: bytes) -> str:
    signed = f"{part({'alg': 'HS256', 'kid': kid})}.{part(claims)}"
    return f"{signed}.{base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), 'sha256')).decode().rstrip('=')}"


async def test_no_algorithm_but_the_keys_own_is_believed(issuer: Issuer):
    """`none`, a secret that is the public key or a published one, and another key under the same id."""
    oidc, claims = of(issuer), issuer.claims()
    public = issuer.keys["first"][1].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    unsigned = f"{part({'alg': 'none', 'kid': 'first'})}.{part(claims)}."
    confused, published = by_secret(claims, "first", pem), by_secret(claims, "shared", b"secret")
    stranger = jwt.encode(claims, rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": "first"})
    another = jwt.encode(claims, issuer.keys["first"][1], "RS512", headers={"kid": "first"})
    assert await oidc.caller(issuer.token()) is not None
    for token in (
        unsigned,
        confused,
        published,
        stranger,
        another,
        issuer.token()[:-4] + "AAAA",
        "a.b.c",
        "..",
        "é.é.é",
    ):
        assert await oidc.caller(token) is None, token


async def test_a_new_key_is_found_and_one_that_is_taken_back_is_forgotten(issuer: Issuer):
    clock = Clock()
    oidc = of(issuer, clock)
    old = issuer.token()
    assert await oidc.caller(old) is not None
    issuer.add("second", "ES256")
    del issuer.keys["first"]
    clock.now += BETWEEN_S + 1
    assert await oidc.caller(issuer.token("second")) is not None
    assert await oidc.caller(old) is None


async def test_unknown_ids_cost_the_issuer_few_looks(issuer: Issuer):
    oidc = of(issuer)
    key = issuer.keys["first"][1]
    for n in range(50):
        assert await oidc.caller(jwt.encode(issuer.claims(), key, "RS256", headers={"kid": f"k{n}"})) is None
    assert issuer.reads == 1


async def test_while_the_issuer_is_away_its_keys_stay_for_a_day(issuer: Issuer):
    clock = Clock()
    oidc, token = of(issuer, clock), issuer.token()
    issuer.away = True
    with pytest.raises(Unavailable):
        await oidc.caller(token)
    issuer.away = False
    clock.now += BETWEEN_S + 1
    assert await oidc.caller(token) is not None
    issuer.away = True
    clock.now += FRESH_S + 1
    assert await oidc.caller(token) is not None
    clock.now += STALE_S
    with pytest.raises(Unavailable):
        await oidc.caller(token)


async def test_an_issuer_of_another_name_is_not_believed(issuer: Issuer):
    issuer_url, issuer.url = issuer.url, "https://other.example"
    terms = OidcTerms(issuer_url, "driftline", "roles", {"operator": "operator"})
    oidc = OidcIssuer(terms, PublishedIssuer(issuer_url, Clock()))
    with pytest.raises(Unavailable):
        await oidc.caller(issuer.token(iss=issuer_url))


async def test_without_its_issuer_a_service_says_that_it_can_not_know(issuer: Issuer):
    issuer.away = True
    async with client_of(Settings(oidc_issuer=issuer.url, oidc_audience="driftline", read="token")) as client:
        answer: httpx.Response = await client.get("/look", headers=shown(issuer.token()))
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
