"""`/login`: a form for a token, after which a browser may read for a month, and `/logout`."""

from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.responses import RedirectResponse

from driftline.service.access.gate import COOKIE, AccessGate
from driftline.service.access.login_page import leading, page
from driftline.service.access.sessions import LASTS_S
from driftline.service.body import read_body

BODY_LIMIT: Final = 16 * 1024


def routes(gate: AccessGate) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    issuer = gate.sign_in.where if gate.sign_in is not None else None

    @router.get("/login")
    async def show(request: Request) -> Response:
        caller = await gate.remembered(request)
        signed_in = caller.name if caller is not None else None
        return page(request.query_params.get("next", ""), signed_in=signed_in, issuer=issuer)

    @router.post("/login")
    async def sign_in(request: Request) -> Response:
        _check_own(request)
        form = parse_qs((await read_body(request, BODY_LIMIT)).decode(errors="replace"))
        token, wanted = (form.get(name, [""])[0].strip() for name in ("token", "next"))
        if gate.is_open:
            return leading(wanted)
        try:
            caller = await gate.examine(request, token)
        except HTTPException as error:
            limited = error.status_code == HTTPStatus.TOO_MANY_REQUESTS
            problem = str(error.detail) if limited else "This service does not know that token."
            return page(wanted, issuer=issuer, problem=problem, status=error.status_code, headers=error.headers)
        answer = leading(wanted)
        is_private = request.headers.get("origin", "").startswith("https://") or request.url.scheme == "https"
        session = gate.session_of(caller, LASTS_S)
        answer.set_cookie(COOKIE, session, int(LASTS_S), secure=is_private, httponly=True, samesite="lax")
        return answer

    @router.post("/logout")
    async def sign_out(request: Request) -> Response:
        _check_own(request)
        answer = RedirectResponse("login", HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer

    return router


def _check_own(request: Request) -> None:
    """A page of somebody else's may sign nobody in or out. Raises HTTPException 403."""
    if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        raise HTTPException(HTTPStatus.FORBIDDEN, "found a form of another page, expected this service's own")
