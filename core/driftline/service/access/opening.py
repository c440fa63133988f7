"""The gate that the settings ask for."""

import hmac
import secrets

from driftline.metrics import Metrics
from driftline.service.access.gate import AccessGate, Authority, SharedToken
from driftline.service.access.roles import OidcTerms
from driftline.service.access.sessions import Sessions
from driftline.service.access.sign_in import SignIn
from driftline.service.access.token_file import TokenFile
from driftline.service.settings import Settings


def open_gate(settings: Settings, metrics: Metrics) -> AccessGate:
    """Raises InvalidInput for a file of tokens that can't be used."""
    shared = settings.token.get_secret_value() if settings.token is not None else None
    authorities: list[Authority] = [SharedToken(shared)] if shared is not None else []
    if settings.tokens_file is not None:
        authorities.append(TokenFile(settings.tokens_file))
    key, sign_in = _key(shared), None
    if (terms := settings.oidc_terms()) is not None:
        issuer, sign_in = _oidc(terms, key)
        authorities.append(issuer)
    return AccessGate(
        authorities, Sessions(key), metrics.requests_unauthorised, closed=settings.is_closed, sign_in=sign_in
    )


def _oidc(terms: OidcTerms, key: bytes) -> tuple[Authority, SignIn | None]:
    """What knows the issuer's tokens, and its sign-in where there is a client for it."""
    # They bring a library that few need.
    from driftline.service.access.code_flow import CodeFlow  # noqa: PLC0415
    from driftline.service.access.oidc import OidcIssuer  # noqa: PLC0415
    from driftline.service.access.published_issuer import PublishedIssuer  # noqa: PLC0415

    issuer = PublishedIssuer(terms.issuer)
    sign_in = CodeFlow(terms.client, terms, issuer, key) if terms.client is not None else None
    return OidcIssuer(terms, issuer), sign_in


def _key(shared: str | None) -> bytes:
    """All services that share a token open each other's sessions, also after a restart; otherwise a process alone."""
    if shared is None:
        return secrets.token_bytes(32)
    return hmac.digest(shared.encode(), b"driftline sessions", "sha256")
