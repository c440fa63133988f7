"""What an OpenID Connect issuer publishes of itself: its endpoints and its keys, read when they are needed.

OpenID Connect Discovery 1.0, RFC 7517. A key is used with its own algorithms alone, as RFC 8725 wants: neither `none`
nor a shared secret is one.
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
FRESH_S: Final = 600.0
"""For so long keys are used without a look at the issuer: a key that it takes back is good no longer than that."""
BETWEEN_S: Final = 10.0
"""Seconds at least between two looks, whatever is shown to us."""
STALE_S: Final = 86_400.0
"""For so long keys are used while the issuer is away."""
TIMEOUT_S: Final = 5.0
WELL_KNOWN: Final = "/.well-known/openid-configuration"
BASIC: Final = "client_secret_basic"


class IssuerMetadata(msgspec.Struct, frozen=True):
    """Where an issuer's endpoints are. The last three are needed for signing in alone."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = (BASIC,)


class _PublishedKeys(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class PublishedIssuer:
    """Asks the issuer of that URL. ticks: seconds of a clock that is not set back."""

    def __init__(self, url: str, ticks: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self._ticks = ticks
        self._metadata: IssuerMetadata | None = None
        self._keys: list[jwt.PyJWK] = []
        self._read_at, self._tried_at = -STALE_S, -BETWEEN_S
        self._reading = asyncio.Lock()

    async def find_key(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """The key of that id for that algorithm. Raises Unavailable where none could be read yet."""
        if not any(algorithm in able for able in ALGORITHMS.values()):
            return None
        if not self._is_fresh or self._known(kid, algorithm) is None:
            await self._read()
        if not self._keys or self._is_stale:
            raise Unavailable(f"found no keys of the issuer {self.url}: it does not answer")
        return self._known(kid, algorithm)

    async def metadata(self) -> IssuerMetadata:
        """Raises Unavailable where it could not be read yet."""
        if not self._is_fresh:
            await self._read()
        if self._metadata is None or self._is_stale:
            raise Unavailable(f"found no description of the issuer {self.url}: it does not answer")
        return self._metadata

    @property
    def _is_fresh(self) -> bool:
        return self._ticks() - self._read_at <= FRESH_S

    @property
    def _is_stale(self) -> bool:
        return self._ticks() - self._read_at > STALE_S

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
                self._metadata, self._keys = await self._published()
                self._read_at = self._ticks()
            except (httpx.HTTPError, httpx.InvalidURL, ValueError, msgspec.DecodeError) as error:
                log.warning("the issuer's keys can't be read: %s: %s", type(error).__name__, error)

    async def _published(self) -> tuple[IssuerMetadata, list[jwt.PyJWK]]:
        """Raises httpx.HTTPError, httpx.InvalidURL, ValueError, msgspec.DecodeError."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            answer = await client.get(self.url.rstrip("/") + WELL_KNOWN)
            metadata = msgspec.json.decode(answer.raise_for_status().content, type=IssuerMetadata)
            if metadata.issuer != self.url:
                raise ValueError(f"found issuer {metadata.issuer!r}, expected {self.url!r}")
            if not is_private(metadata.jwks_uri):
                raise ValueError(f"found keys at {metadata.jwks_uri!r}, expected https://…")
            answer = await client.get(metadata.jwks_uri)
            published = msgspec.json.decode(answer.raise_for_status().content, type=_PublishedKeys)
        return metadata, [key for entry in published.keys for key in _keys_of(entry)]


def _keys_of(entry: Mapping[str, Any]) -> Iterator[jwt.PyJWK]:
    """A published key, once for each algorithm that it may be used with; none for what is no key to check by."""
    able = ALGORITHMS.get((str(entry.get("kty")), str(entry.get("crv", ""))), ())
    if entry.get("use", "sig") != "sig":
        return
    for algorithm in able if "alg" not in entry else {entry["alg"]}.intersection(able):
        with suppress(PyJWTError, KeyError, ValueError, TypeError):
            yield jwt.PyJWK(dict(entry), algorithm=algorithm)
