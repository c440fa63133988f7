"""Where in a request a credential stands. Pure."""

import base64
from collections.abc import Callable, Mapping

Shown = Callable[[Mapping[str, str], Mapping[str, str]], str | None]
"""The credential that headers (in lower case) and the query's parameters show; None for none."""


def bearer(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:  # noqa: ARG001 - see Shown
    """`Authorization: Bearer TOKEN`."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() or None if scheme.lower() == "bearer" else None


def influx(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """As InfluxDB's clients do: also `Authorization: Token TOKEN`, and as the password of a user, in the header or as
    `p` in the query."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return _password(given) or None
    if scheme.lower() in {"bearer", "token"}:
        return given.strip() or None
    return query.get("p") or None


def _password(credentials: str) -> str:
    """Of a user in the header; empty if it is broken."""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
