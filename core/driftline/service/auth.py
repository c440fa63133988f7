"""Bearer tokens for whatever changes something."""

import secrets
from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Request
from pydantic import SecretStr


def bearer(token: SecretStr | None) -> Callable[[Request], Awaitable[None]]:
    """A dependency that answers 401 unless the request carries `token`; without one everybody may."""

    # Async, though it waits for nothing: FastAPI would run it in a thread, which costs more than the request.
    async def check(request: Request) -> None:
        if token is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Compared in constant time, as bytes: a header may hold what is not ASCII.
        same = secrets.compare_digest(given.encode(), token.get_secret_value().encode())
        if scheme.lower() != "bearer" or not same:
            raise HTTPException(401, "expected the header `Authorization: Bearer TOKEN` with this service's token")

    return check
