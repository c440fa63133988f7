"""The middleware that stands before all routes: examines, audits, and leads browsers to the login."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from fastapi import HTTPException, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from driftline.errors import Unavailable
from driftline.service.access import audit
from driftline.service.access.gate import AccessGate, address_of
from driftline.service.access.roles import READING, RouteRoles

Refusing = Callable[[HTTPException], Response]
"""The answer that an error is."""
AGAIN_S: Final = 15.0
"""After so many seconds of an answer that goes on, such as live events, its reader is examined again."""


class Guard:
    """An app whose every request the gate lets in or not."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        gate: AccessGate,
        roles: RouteRoles,
        refuse: Refusing,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._ticks = ticks
        self._gate = gate
        self._roles = roles
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            # No service has one, and none that comes later is open.
            await WebSocketClose()(scope, receive, send)
        elif scope["method"] in READING:
            await self._reading(scope, receive, send)
        else:
            await self._changing(scope, receive, send)

    async def _reading(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (refusal := await self._refusal(scope)) is not None:
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, self._while_admitted(scope, send))

    def _while_admitted(self, scope: Scope, send: Send) -> Send:
        """Ends an answer whose reader may not read any more."""
        examined_at, is_over = self._ticks(), False

        async def sending(message: Message) -> None:
            nonlocal examined_at, is_over
            if is_over:
                return
            if message.get("more_body") and self._ticks() - examined_at > AGAIN_S:
                examined_at = self._ticks()
                is_over = await self._refusal(scope) is not None
            await send({"type": "http.response.body"} if is_over else message)

        return sending

    async def _changing(self, scope: Scope, receive: Receive, send: Send) -> None:
        change, statuses = audit.begin(), [HTTPStatus.INTERNAL_SERVER_ERROR.value]

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            await (await self._refusal(scope) or self._app)(scope, receive, noting)
        finally:
            address = address_of(Request(scope))
            audit.write(change, method=scope["method"], path=scope["path"], address=address, status=statuses[-1])

    async def _refusal(self, scope: Scope) -> Response | None:
        """None for whoever may."""
        needed = self._roles.of(scope["method"], scope["path"])
        if needed is None:
            return None
        request = Request(scope)
        try:
            await self._gate.admit(request, needed)
        except HTTPException as error:
            if error.status_code == HTTPStatus.UNAUTHORIZED and _is_of_browser(request):
                return RedirectResponse(login_for(request), HTTPStatus.SEE_OTHER)
            return self._refuse(error)
        except Unavailable as error:
            return self._refuse(HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error)))
        return None


def _is_of_browser(request: Request) -> bool:
    """Whether somebody looks at a page, and not a program."""
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def login_for(request: Request) -> str:
    """Relative, so that it also leads there behind a proxy's prefix."""
    path: str = request.scope["path"]
    query = request.scope["query_string"].decode("latin-1")
    wanted = quote(path.lstrip("/")) + (f"?{query}" if query else "")
    return "../" * (path.count("/") - 1) + (f"login?next={quote(wanted, safe='')}" if wanted else "login")
