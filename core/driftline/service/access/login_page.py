"""The page at which people sign in, and where a browser goes afterwards."""

from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from starlette.responses import HTMLResponse, RedirectResponse

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
input, button, .issuer { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; margin: .25rem 0 1rem }
.issuer { display: block; border: 1px solid; border-radius: .25rem; text-align: center }
p[role=alert] { border-left: .25rem solid #c33; padding-left: .75rem }
</style>
<main>
<h1>Sign in</h1>
"""
FORM: Final = """<form method="post" action="{login}">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required{focus}>
<input type="hidden" name="next" value="{next}">
<button>Sign in</button>
</form>
<p>An operator makes one with <code>driftline token new NAME --role viewer</code>.</p>
</main>
</html>
"""


def page(
    wanted: str,
    *,
    signed_in: str | None = None,
    issuer: str | None = None,
    login: str = "login",
    problem: str = "",
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """wanted: what the browser shows next; signed_in: who reads here already; issuer: the host at which people can sign
    in, too; login: the relative path of `/login`; headers: of the problem."""
    said = f'<p role="alert">{escape(problem)}</p>\n' if problem else ""
    form = FORM.format(login=login, next=escape(wanted), focus="" if issuer is not None else " autofocus")
    text = (
        PAGE
        + said
        + (_sign_out(signed_in) if signed_in is not None else "")
        + (_link(issuer, login, wanted) if issuer is not None else "")
        + form
    )
    return HTMLResponse(text, status, {**HEADERS, **(headers or {})})


def _sign_out(name: str) -> str:
    said = f"<p>You read here as <strong>{escape(name)}</strong>.</p>"
    return f'{said}\n<form method="post" action="logout"><button>Sign out</button></form>\n'


def _link(issuer: str, login: str, wanted: str) -> str:
    return f'<a class="issuer" href="{login}/issuer?next={quote(wanted, safe="")}">Sign in with {escape(issuer)}</a>\n'


def leading(wanted: str, *, up: str = "./") -> RedirectResponse:
    """To a path of this service, whatever is asked for: it begins with `./` or `../`, so no other host can be meant."""
    return RedirectResponse(f"{up}{quote(wanted.lstrip('/'), safe=SAFE)}", HTTPStatus.SEE_OTHER, dict(HEADERS))
