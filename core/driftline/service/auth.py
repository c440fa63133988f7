"""Bearer tokens for whatever changes something."""

import base64
import secrets
from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Request
from fastapi.security import HTTPBearer
from pydantic import SecretStr

READ = HTTPBearer(auto_error=False)
"""What the header says; what it must say is compared here."""
EXPECTED = "expected the header `Authorization: Bearer TOKEN` with this service's token"


def bearer(token: SecretStr | None) -> Callable[[Request], Awaitable[None]]:
    """A dependency that answers 401 unless the request carries `token`; without one everybody may."""

    # Async, though it waits for nothing: FastAPI would run it in a thread, which costs more than the request.
    async def check(request: Request) -> None:
        if token is None:
            return
        given = await READ(request)
        # Compared in constant time, as bytes: a header may hold what is not ASCII.
        shown = given.credentials.encode() if given is not None else b""
        if not secrets.compare_digest(shown, token.get_secret_value().encode()):
            raise HTTPException(401, EXPECTED)

    return check


def influx_token(token: SecretStr | None) -> Callable[[Request], Awaitable[None]]:
    """The same for InfluxDB's clients, which have several ways to show it: also `Authorization: Token TOKEN`, and as
    the password of a user, in the header or as `p` in the query."""

    async def check(request: Request) -> None:
        if token is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            given = _password(given)
        elif scheme.lower() not in {"bearer", "token"}:
            given = request.query_params.get("p", "")
        if not secrets.compare_digest(given.strip().encode(), token.get_secret_value().encode()):
            raise HTTPException(401, "expected the header `Authorization: Token TOKEN` with this service's token")

    return check


def _password(credentials: str) -> str:
    """Of a user in the header; empty if it is broken."""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
