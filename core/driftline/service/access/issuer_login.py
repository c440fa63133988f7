"""`/login/issuer`, which leads a browser to the OpenID Connect issuer, and `/login/callback`, to which it returns."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.responses import RedirectResponse

from driftline.errors import DriftlineError, InvalidInput, NotAllowed, Unavailable
from driftline.service.access.gate import COOKIE, AccessGate
from driftline.service.access.login_page import HEADERS, leading, page
from driftline.service.access.sessions import LASTS_OF_ISSUER_S
from driftline.service.access.sign_in import SignIn
from driftline.service.setting_checks import CALLBACK

LEAVING: Final = "driftline-sign-in"
LEAVING_S: Final = 600
STATUSES: Final[Mapping[type[DriftlineError], HTTPStatus]] = {
    InvalidInput: HTTPStatus.BAD_REQUEST,
    NotAllowed: HTTPStatus.FORBIDDEN,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""By what goes wrong the status of the page that says so."""


def routes(gate: AccessGate, sign_in: SignIn) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    def refusing(problem: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
        return page("", issuer=sign_in.where, login="../login", problem=problem, status=status, headers=headers)

    @router.get("/login/issuer")
    async def leave(request: Request) -> Response:
        here = str(request.url.replace(path=CALLBACK, query="", fragment=""))
        try:
            departure = await sign_in.leave(here, request.query_params.get("next", ""))
        except Unavailable as error:
            return refusing(str(error), HTTPStatus.SERVICE_UNAVAILABLE)
        answer = RedirectResponse(departure.url, HTTPStatus.SEE_OTHER, dict(HEADERS))
        # Lax, since the browser comes back from another site.
        answer.set_cookie(
            LEAVING, departure.note, LEAVING_S, secure=departure.is_private, httponly=True, samesite="lax"
        )
        return answer

    @router.get(CALLBACK)
    async def enter(request: Request) -> Response:
        try:
            brought = sign_in.returned(request.query_params, request.cookies.get(LEAVING, ""))
            caller = await gate.examine_by(request, brought.code, brought.caller)
        except HTTPException as error:
            limited = error.status_code == HTTPStatus.TOO_MANY_REQUESTS
            said = str(error.detail) if limited else f"{sign_in.where} did not confirm this sign-in. Try it again."
            return refusing(said, error.status_code, error.headers)
        except tuple(STATUSES) as error:
            return refusing(str(error), STATUSES[type(error)])
        answer = leading(brought.wanted, up="../")
        answer.delete_cookie(LEAVING, httponly=True, samesite="lax")
        session, lasts = gate.session_of(caller, LASTS_OF_ISSUER_S), int(LASTS_OF_ISSUER_S)
        answer.set_cookie(COOKIE, session, lasts, secure=brought.is_private, httponly=True, samesite="lax")
        return answer

    return router
