"""Tokens of an OpenID Connect issuer: JWTs that it signed for us, and the roles that a claim of theirs gives.

Signatures are asymmetric and by a key that the issuer publishes now (OpenID Connect Discovery 1.0, RFC 7517, 7519), as
RFC 8725 wants: neither `none` nor a shared secret is an algorithm, and a key is used with its own algorithms alone.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import httpx
import jwt
import msgspec
from jwt.exceptions import PyJWTError

from driftline.errors import Unavailable
from driftline.service.access.named_tokens import digest_of, mark_of
from driftline.service.access.roles import Caller, OidcTerms, Role
from driftline.service.setting_checks import is_private

log = logging.getLogger(__name__)

OF_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ALGORITHMS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("RSA", ""): OF_RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""By kind and curve of a key what it may check."""
LEEWAY_S: Final = 60
"""How far the issuer's clock and this one may be apart."""
FRESH_S: Final = 600.0
"""For so long keys are used without a look at the issuer: a key that it takes back is good no longer than that."""
BETWEEN_S: Final = 10.0
"""Seconds at least between two looks, whatever is shown to us."""
STALE_S: Final = 86_400.0
"""For so long keys are used while the issuer is away."""
TIMEOUT_S: Final = 5.0
SHOWN: Final = 80
WELL_KNOWN: Final = "/.well-known/openid-configuration"


class OidcIssuer:
    """See `driftline.service.access.gate.Authority`."""

    def __init__(self, terms: OidcTerms, *, ticks: Callable[[], float] = time.monotonic) -> None:
        self._terms = terms
        self._keys = IssuerKeys(terms.issuer, ticks)

    async def caller(self, shown: str) -> Caller | None:
        if shown.count(".") != 2:  # noqa: PLR2004 - header, claims and signature
            return None
        try:
            head = jwt.get_unverified_header(shown)
            key = await self._keys.find(head.get("kid"), head["alg"])
            if key is None:
                return None
            claims = jwt.decode(
                shown,
                key,
                algorithms=[head["alg"]],
                audience=self._terms.audience,
                issuer=self._terms.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (PyJWTError, KeyError) as error:
            log.info("a token of the issuer is no good: %s", str(error)[:SHOWN])
            return None
        role = role_of(claims, self._terms)
        return Caller(claims["sub"][:SHOWN], role, "oidc", mark_of(digest_of(shown))) if role is not None else None

    async def known(self, name: str, mark: str) -> Caller | None:  # noqa: ARG002 - see Authority
        """Nobody: how long such a token is good only it says itself."""
        return None


def role_of(claims: Mapping[str, Any], terms: OidcTerms) -> Role | None:
    """The highest that the claim gives; None for none."""
    value: Any = claims
    for part in (terms.claim,) if terms.claim in claims else terms.claim.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    values = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    given = [Role.named(terms.roles[one]) for one in values if isinstance(one, str) and one in terms.roles]
    return max(given, default=None)


class _Discovered(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


class _Published(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class IssuerKeys:
    """The keys that the issuer publishes, read when they are needed."""

    def __init__(self, issuer: str, ticks: Callable[[], float]) -> None:
        self._issuer = issuer
        self._ticks = ticks
        self._keys: list[jwt.PyJWK] = []
        self._read_at, self._tried_at = -STALE_S, -BETWEEN_S
        self._reading = asyncio.Lock()

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """The key of that id for that algorithm. Raises Unavailable where none could be read yet."""
        if not any(algorithm in able for able in ALGORITHMS.values()):
            return None
        if self._ticks() - self._read_at > FRESH_S or self._known(kid, algorithm) is None:
            await self._read()
        if not self._keys or self._ticks() - self._read_at > STALE_S:
            raise Unavailable(f"found no keys of the issuer {self._issuer}: it does not answer")
        return self._known(kid, algorithm)

    def _known(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        able = [key for key in self._keys if key.algorithm_name == algorithm and kid in {None, key.key_id}]
        # Without an id it must be clear which is meant.
        return able[0] if len(able) == 1 else None

    async def _read(self) -> None:
        asked_at = self._ticks()
        async with self._reading:
            if asked_at < self._tried_at or self._ticks() - self._tried_at < BETWEEN_S:
                return
            self._tried_at = self._ticks()
            try:
                self._keys = await self._published()
                self._read_at = self._ticks()
            except (httpx.HTTPError, ValueError, msgspec.DecodeError) as error:
                log.warning("the issuer's keys can't be read: %s: %s", type(error).__name__, error)

    async def _published(self) -> list[jwt.PyJWK]:
        """Raises httpx.HTTPError, ValueError, msgspec.DecodeError."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            answer = await client.get(self._issuer.rstrip("/") + WELL_KNOWN)
            discovered = msgspec.json.decode(answer.raise_for_status().content, type=_Discovered)
            if discovered.issuer != self._issuer:
                raise ValueError(f"found issuer {discovered.issuer!r}, expected {self._issuer!r}")
            if not is_private(discovered.jwks_uri):
                raise ValueError(f"found keys at {discovered.jwks_uri!r}, expected https://…")
            answer = await client.get(discovered.jwks_uri)
            published = msgspec.json.decode(answer.raise_for_status().content, type=_Published)
        return [key for entry in published.keys for key in _keys_of(entry)]


def _keys_of(entry: Mapping[str, Any]) -> Iterator[jwt.PyJWK]:
    """A published key, once for each algorithm that it may be used with; none for what is no key to check by."""
    able = ALGORITHMS.get((str(entry.get("kty")), str(entry.get("crv", ""))), ())
    if entry.get("use", "sig") != "sig":
        return
    for algorithm in able if "alg" not in entry else {entry["alg"]}.intersection(able):
        with suppress(PyJWTError, KeyError, ValueError, TypeError):
            yield jwt.PyJWK(dict(entry), algorithm=algorithm)
