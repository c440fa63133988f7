"""`/login`: a form for a token, after which a browser may read for a month, and `/logout`."""

from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.responses import HTMLResponse, RedirectResponse

from driftline.service.access.gate import COOKIE, AccessGate
from driftline.service.access.sessions import LASTS_S
from driftline.service.body import read_body

BODY_LIMIT: Final = 16 * 1024
SAFE: Final = "/?&=%#:,;@!$'()*+~"
HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Driftline: sign in</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 24rem; margin: 10vh auto; padding: 0 1rem }
input, button { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; margin: .25rem 0 1rem }
p[role=alert] { border-left: .25rem solid #c33; padding-left: .75rem }
</style>
<main>
<h1>Sign in</h1>
{problem}
<form method="post" action="login">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<input type="hidden" name="next" value="{next}">
<button>Sign in</button>
</form>
<p>An operator makes one with <code>driftline token new NAME --role viewer</code>.</p>
</main>
</html>
"""


def routes(gate: AccessGate) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    async def show(request: Request) -> Response:
        return _page(request.query_params.get("next", ""))

    @router.post("/login")
    async def sign_in(request: Request) -> Response:
        _check_own(request)
        form = parse_qs((await read_body(request, BODY_LIMIT)).decode(errors="replace"))
        token, wanted = (form.get(name, [""])[0].strip() for name in ("token", "next"))
        if gate.is_open:
            return _leading(wanted)
        try:
            caller = await gate.examine(request, token)
        except HTTPException as error:
            limited = error.status_code == HTTPStatus.TOO_MANY_REQUESTS
            return _page(wanted, str(error.detail) if limited else "This service does not know that token.", error)
        answer = _leading(wanted)
        is_private = request.headers.get("origin", "").startswith("https://") or request.url.scheme == "https"
        session = gate.session_of(caller)
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


def _page(wanted: str, problem: str = "", error: HTTPException | None = None) -> HTMLResponse:
    said = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    text = PAGE.replace("{problem}", said).replace("{next}", escape(wanted))
    headers = {**HEADERS, **(error.headers or {})} if error is not None else HEADERS
    return HTMLResponse(text, error.status_code if error is not None else HTTPStatus.OK, dict(headers))


def _leading(wanted: str) -> RedirectResponse:
    """To a path of this service, whatever is asked for: it begins with `./`, so no other host can be meant."""
    return RedirectResponse(f"./{quote(wanted.lstrip('/'), safe=SAFE)}", HTTPStatus.SEE_OTHER, dict(HEADERS))
