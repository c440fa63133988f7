"""Signs people in at an OpenID Connect issuer: authorization code flow (Core 1.0, section 3.1) with PKCE (RFC 7636).

Nothing is kept here between the two halves: a sealed note in the browser's cookie has what the second one needs. The
issuer's tokens are read once and kept nowhere.
"""

import hmac
import logging
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote_plus

import httpx
import msgspec

from driftline.errors import InvalidInput, NotAllowed, Unavailable
from driftline.service.access.oidc import NEEDED, SHOWN, claims_of, role_of, session_mark
from driftline.service.access.published_issuer import BASIC, TIMEOUT_S, IssuerMetadata, PublishedIssuer
from driftline.service.access.roles import Caller, OidcClient, OidcTerms
from driftline.service.access.sealing import key_for, seal, unseal
from driftline.service.access.sign_in import Departure, Return
from driftline.service.setting_checks import is_private

log = logging.getLogger(__name__)

LIMIT: Final = 3072
"""Letters of a note: browsers take cookies of 4096."""
WANTED: Final = 1024
"""Bytes of the address that somebody wanted to see; a longer one is forgotten."""
CODE: Final = 4096
LASTS_S: Final = 600.0
"""For so long somebody may be at the issuer."""


class _Note(msgspec.Struct, frozen=True, array_like=True):
    """What the first half of a sign-in leaves for the second. back: where the issuer sends the browser."""

    state: str
    nonce: str
    verifier: str
    back: str
    wanted: str
    until: float


class _Answer(msgspec.Struct, frozen=True):
    """Of the token endpoint: a token, or an error."""

    id_token: str = ""
    error: str = ""


class CodeFlow:
    """See `driftline.service.access.sign_in.SignIn`. key: what nobody else knows."""

    def __init__(
        self,
        client: OidcClient,
        terms: OidcTerms,
        issuer: PublishedIssuer,
        key: bytes,
        *,
        clock: Callable[[], float] = time.time,
        new_secret: Callable[[], str] = lambda: secrets.token_urlsafe(32),
    ) -> None:
        self._client = client
        self._terms = terms
        self._issuer = issuer
        self._key = key_for(key, b"driftline sign-in")
        self._clock = clock
        self._new_secret = new_secret

    @property
    def where(self) -> str:
        return httpx.URL(self._issuer.url).host

    async def leave(self, here: str, wanted: str) -> Departure:
        metadata = await self._issuer.metadata()
        endpoint = _private(metadata.authorization_endpoint, "authorization_endpoint")
        note = _Note(
            state=self._new_secret(),
            nonce=self._new_secret(),
            verifier=self._new_secret(),
            back=self._client.redirect or here,
            wanted=wanted if len(wanted.encode(errors="replace")) <= WANTED else "",
            until=self._clock() + LASTS_S,
        )
        url = str(endpoint.copy_merge_params(self._asked(note)))
        return Departure(url, seal(self._key, msgspec.json.encode(note)), _is_https(note.back))

    def _asked(self, note: _Note) -> dict[str, str]:
        return {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": note.back,
            "scope": self._client.scope,
            "state": note.state,
            "nonce": note.nonce,
            "code_challenge": _challenge_of(note.verifier),
            "code_challenge_method": "S256",
        }

    def returned(self, query: Mapping[str, str], sealed: str) -> Return:
        note = self._opened(sealed)
        if note is None or not hmac.compare_digest(note.state.encode(), query.get("state", "").encode()):
            raise InvalidInput(
                "found no sign-in of this browser that goes on here, expected one of the last 10 minutes"
            )
        if query.get("iss", self._issuer.url) != self._issuer.url:
            raise InvalidInput(f"found an answer of another issuer, expected one of {self._issuer.url}")
        if "error" in query:
            raise InvalidInput(f"found {query['error'][:SHOWN]!r} as the answer of {self.where}, expected a code")
        code = query.get("code", "")
        if not 0 < len(code) <= CODE:
            raise InvalidInput(f"found an answer of {self.where} without a code, expected one")
        return Return(code, note.wanted, _is_https(note.back), lambda: self._caller(code, note))

    def _opened(self, sealed: str) -> _Note | None:
        content = unseal(self._key, sealed, LIMIT)
        if content is None:
            return None
        try:
            note = msgspec.json.decode(content, type=_Note)
        except msgspec.DecodeError:
            return None
        return note if self._clock() < note.until else None

    async def _caller(self, code: str, note: _Note) -> Caller | None:
        """Who the issuer says that somebody is. Raises NotAllowed, Unavailable."""
        token = await self._exchanged(code, note)
        claims = await claims_of(token, self._issuer, self._client.client_id, needed=(*NEEDED, "iat", "nonce"))
        if claims is None or not self._is_of(claims, note):
            return None
        name = claims["sub"][:SHOWN]
        role = role_of(claims, self._terms)
        if role is None:
            raise NotAllowed(f"found {name!r} without a role here, expected one in the claim {self._terms.claim!r}")
        return Caller(name, role, "oidc", session_mark(self._issuer.url, self._client.client_id))

    def _is_of(self, claims: Mapping[str, Any], note: _Note) -> bool:
        """Whether it was made for this sign-in and for no other client."""
        is_asked_for = hmac.compare_digest(str(claims["nonce"]).encode(), note.nonce.encode())
        return is_asked_for and claims.get("azp", self._client.client_id) == self._client.client_id

    async def _exchanged(self, code: str, note: _Note) -> str:
        """The ID token that a code gives; empty where the issuer does not take the code. Raises Unavailable."""
        metadata = await self._issuer.metadata()
        endpoint = _private(metadata.token_endpoint, "token_endpoint")
        grant = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": note.back,
            "code_verifier": note.verifier,
        }
        auth, own = self._authentication(metadata)
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S, auth=auth) as client:
                response = await client.post(endpoint, data={**grant, **own}, headers={"Accept": "application/json"})
            answer = msgspec.json.decode(response.content, type=_Answer)
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            log.warning("a code can't be exchanged: %s: %s", type(error).__name__, str(error)[:SHOWN])
            raise Unavailable(f"found no answer of the issuer {self._issuer.url} that can be read") from None
        if response.is_success or answer.error == "invalid_grant":
            return answer.id_token
        log.error("the issuer refuses this client: %s", answer.error[:SHOWN])
        raise Unavailable(f"found {answer.error[:SHOWN]!r} as the issuer's answer to this service, expected a token")

    def _authentication(self, metadata: IssuerMetadata) -> tuple[httpx.BasicAuth | None, dict[str, str]]:
        """How this client says who it is: in the header, or in the form (RFC 6749, section 2.3.1)."""
        client_id, secret = self._client.client_id, self._client.secret
        if secret is None:
            return None, {"client_id": client_id}
        if BASIC in metadata.token_endpoint_auth_methods_supported:
            return httpx.BasicAuth(quote_plus(client_id), quote_plus(secret)), {}
        return None, {"client_id": client_id, "client_secret": secret}


def _challenge_of(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")


def _is_https(url: str) -> bool:
    return url.startswith("https://")


def _private(url: str | None, name: str) -> httpx.URL:
    """Raises Unavailable for an endpoint that the issuer does not name, or that anybody on the way could read."""
    try:
        if url is not None and is_private(url):
            return httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        pass
    raise Unavailable(f"found {url!r} as the issuer's {name}, expected https://…")
