"""Examines whoever asks, before any route does: a middleware, and what routes ask that examine somebody themselves."""

import hmac
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final, Protocol

from fastapi import HTTPException, Request
from prometheus_client import Counter

from driftline.service.access import audit, credentials
from driftline.service.access.attempts import Attempts
from driftline.service.access.credentials import Shown
from driftline.service.access.named_tokens import SHARED, digest_of, mark_of
from driftline.service.access.roles import ANYBODY, Caller, Role
from driftline.service.access.sessions import Sessions
from driftline.service.access.sign_in import SignIn

log = logging.getLogger(__name__)

EXPECTED: Final = "expected the header `Authorization: Bearer TOKEN` with a token that this service knows"
COOKIE: Final = "driftline"
UNKNOWN: Final = "unknown"


class Authority(Protocol):
    """Knows credentials."""

    async def caller(self, shown: str) -> Caller | None:
        """Whose credential it is; None for nobody's. Raises Unavailable where that can't be known now."""

    async def known(self, name: str, mark: str) -> Caller | None:
        """Whoever has shown a credential of that mark before, if it is still good."""


class SharedToken:
    """The one token of the settings: whoever has it is an operator."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._caller = Caller(SHARED, Role.OPERATOR, "token", mark_of(digest_of(token)))

    async def caller(self, shown: str) -> Caller | None:
        # In constant time, as bytes: a header may hold what is not ASCII.
        return self._caller if hmac.compare_digest(shown.encode(), self._token) else None

    async def known(self, name: str, mark: str) -> Caller | None:
        return self._caller if (name, mark) == (self._caller.name, self._caller.mark) else None


class AccessGate:
    """Lets a request in, or says what it lacks. Without authorities everybody may do everything.

    refused: counts refusals by reason. sign_in: where browsers can sign in besides the form for a token. ticks: seconds
    of a clock that is not set back.
    """

    def __init__(
        self,
        authorities: Sequence[Authority],
        sessions: Sessions,
        refused: Counter,
        *,
        closed: bool,
        sign_in: SignIn | None = None,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authorities = authorities
        self._sessions = sessions
        self._refused = refused
        self.closed = closed and bool(authorities)
        self.sign_in = sign_in
        self._clock, self._ticks = clock, ticks
        self._attempts = Attempts()

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything."""
        return not self._authorities

    def role_for(self, needed: Role | None) -> Role | None:
        """The role that is examined where one is `needed`: readers are not, unless reading is closed."""
        return None if needed is Role.VIEWER and not self.closed else needed

    async def admit(self, request: Request, needed: Role, shows: Shown = credentials.bearer) -> Caller:
        """Whoever asks. Raises HTTPException 400, 401, 403 or 429, Unavailable."""
        caller = await self._admitted(request, needed, shows)
        if needed is Role.OPERATOR:
            audit.asked_by(caller)
        return caller

    async def _admitted(self, request: Request, needed: Role, shows: Shown) -> Caller:
        if self.is_open or self.role_for(needed) is None:
            return ANYBODY
        check_shown_once(request)
        shown = shows(request.headers, request.query_params)
        caller = await self.examine(request, shown) if shown is not None else await self.remembered(request)
        if caller is None:
            self._refused.labels("missing").inc()
            raise HTTPException(HTTPStatus.UNAUTHORIZED, EXPECTED, {"WWW-Authenticate": "Bearer"})
        if caller.role < needed:
            self._refuse("role", request)
            raise HTTPException(HTTPStatus.FORBIDDEN, f"found {caller.name!r}, a {caller.role}, expected a {needed}")
        return caller

    async def examine(self, request: Request, shown: str) -> Caller:
        """Whose credential it is. Raises HTTPException 401 for nobody's, 429 after too many, Unavailable."""
        return await self.examine_by(request, shown, lambda: self.find(shown))

    async def examine_by(self, request: Request, shown: str, find: Callable[[], Awaitable[Caller | None]]) -> Caller:
        """The same where `find` knows whose it is. Raises what it raises, too."""
        address, mark, now = address_of(request), mark_of(digest_of(shown)), self._ticks()
        if (wait := self._attempts.wait(address, mark, now)) > 0:
            self._refuse("limited", request)
            later = str(math.ceil(wait))
            detail = f"found too many wrong tokens from {address}, expected none for another {later} s"
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": later})
        caller = await find()
        if caller is None:
            self._attempts.failed(address, mark, now)
            self._refuse("wrong", request)
            raise HTTPException(HTTPStatus.UNAUTHORIZED, EXPECTED, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        self._attempts.succeeded(mark)
        return caller

    async def find(self, shown: str) -> Caller | None:
        """Whose credential it is; nobody is counted. Raises Unavailable."""
        for authority in self._authorities:
            if (caller := await authority.caller(shown)) is not None:
                return caller
        return None

    def session_of(self, caller: Caller, lasts: float) -> str:
        """What a browser keeps of whoever has been examined, for so many seconds."""
        return self._sessions.seal(caller, self._clock(), lasts)

    async def remembered(self, request: Request) -> Caller | None:
        """Whose session a browser has, which lets it read, and nothing else."""
        session = self._sessions.open(request.cookies.get(COOKIE, ""), self._clock())
        if session is None:
            return None
        for authority in self._authorities:
            if (caller := await authority.known(session.name, session.mark)) is not None:
                return Caller(caller.name, Role.VIEWER, "session", caller.mark)
        return None

    def _refuse(self, reason: str, request: Request) -> None:
        """Counted each, and written now and then: a list, so that lines of other addresses are of the same kind."""
        self._refused.labels(reason).inc()
        log.warning("a request was refused: %s", reason, extra={"from": [address_of(request)]})


def check_shown_once(request: Request) -> None:
    """Of two credentials a proxy may have looked at the other one. Raises HTTPException 400."""
    if len(request.headers.getlist("authorization")) > 1:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "found the header Authorization more than once, expected it once")


def address_of(request: Request) -> str:
    """Where it comes from; behind a proxy the proxy's."""
    return request.client.host if request.client is not None else UNKNOWN
