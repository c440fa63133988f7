"""Tokens of an OpenID Connect issuer: JWTs that it signed for us, and the roles that a claim of theirs gives.

Signatures are asymmetric and by a key that the issuer publishes now (RFC 7519, 8725).
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

import jwt
from jwt.exceptions import PyJWTError

from driftline.service.access.named_tokens import digest_of, mark_of
from driftline.service.access.published_issuer import PublishedIssuer
from driftline.service.access.roles import Caller, OidcTerms, Role

log = logging.getLogger(__name__)

LEEWAY_S: Final = 60
"""How far the issuer's clock and this one may be apart."""
SHOWN: Final = 80
NEEDED: Final = ("exp", "iss", "aud", "sub")


class OidcIssuer:
    """See `driftline.service.access.gate.Authority`."""

    def __init__(self, terms: OidcTerms, issuer: PublishedIssuer) -> None:
        self._terms = terms
        self._issuer = issuer

    async def caller(self, shown: str) -> Caller | None:
        claims = await claims_of(shown, self._issuer, self._terms.audience)
        role = role_of(claims, self._terms) if claims is not None else None
        if claims is None or role is None:
            return None
        return Caller(claims["sub"][:SHOWN], role, "oidc", mark_of(digest_of(shown)))

    async def known(self, name: str, mark: str) -> Caller | None:
        """Whoever has signed in there with a browser. Of a token nobody: how long it is good only it says itself."""
        client = self._terms.client
        if client is None or mark != session_mark(self._issuer.url, client.client_id):
            return None
        return Caller(name, Role.VIEWER, "oidc", mark)


def session_mark(issuer: str, client_id: str) -> str:
    """Of the sessions of people who have signed in there: another issuer or client ends them all."""
    return mark_of(digest_of(f"{issuer} {client_id}"))


async def claims_of(
    token: str, issuer: PublishedIssuer, audience: str, *, needed: tuple[str, ...] = NEEDED
) -> Mapping[str, Any] | None:
    """What a token says, if the issuer signed it for the audience and its time is now; None for all else.

    Raises Unavailable where the issuer's keys can't be read."""
    if token.count(".") != 2:  # noqa: PLR2004 - header, claims and signature
        return None
    try:
        head = jwt.get_unverified_header(token)
        key = await issuer.find_key(head.get("kid"), head["alg"])
        if key is None:
            return None
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[head["alg"]],
            audience=audience,
            issuer=issuer.url,
            leeway=LEEWAY_S,
            options={"require": list(needed)},
        )
    except (PyJWTError, KeyError) as error:
        log.info("a token of the issuer is no good: %s", str(error)[:SHOWN])
        return None
    return claims


def role_of(claims: Mapping[str, Any], terms: OidcTerms) -> Role | None:
    """The highest that the claim gives; None for none."""
    value: Any = claims
    for part in (terms.claim,) if terms.claim in claims else terms.claim.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    values = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    given = [Role.named(terms.roles[one]) for one in values if isinstance(one, str) and one in terms.roles]
    return max(given, default=None)
