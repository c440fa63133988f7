"""`GET /docs` of every service: Swagger UI 5.35.0, from the package itself, since an edge may have no internet; and
`GET /docs/problems`, to which the types of problems lead."""

import gzip
import re
from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Header
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

from driftline.service.problems import PAGE as PROBLEMS
from driftline.service.problems import TYPES

FOLDER: Final = Path(__file__).with_name("swagger")
"""Compressed as they are sent: 0.5 MB instead of 1.9."""
KINDS: Final = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
NO_ICON: Final = "data:,"
CACHED: Final = {"Cache-Control": "max-age=86400"}


def routes(title: str) -> APIRouter:
    """The page, and what it loads. Its addresses are relative, so it also works behind a proxy's prefix."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def page() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=title,
            swagger_js_url="docs/swagger-ui-bundle.js",
            swagger_css_url="docs/swagger-ui.css",
            swagger_favicon_url=NO_ICON,
        )

    @router.get(PROBLEMS)
    async def problems() -> HTMLResponse:
        return HTMLResponse(_problems())

    for name in KINDS:
        router.add_api_route(f"/docs/{name}", _giving(name))
    return router


def _giving(name: str) -> Callable[..., Awaitable[Response]]:
    async def give(accept_encoding: Annotated[str, Header()] = "") -> Response:
        body = (FOLDER / f"{name}.gz").read_bytes()
        if "gzip" in accept_encoding:
            return Response(body, media_type=KINDS[name], headers={**CACHED, "Content-Encoding": "gzip"})
        return Response(gzip.decompress(body), media_type=KINDS[name], headers=CACHED)

    return give


def _problems() -> str:
    kinds = "".join(f'<h2 id="{kind.name}">{escape(kind.title)}</h2><p>{_marked(kind.meaning)}</p>' for kind in TYPES)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Problem types</title>'
        '<meta name="viewport" content="width=device-width"><style>body{font:1rem/1.5 system-ui,sans-serif;'
        "max-width:40rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}</style><h1>Problem types</h1>"
        "<p>A problem of type <code>about:blank</code> is of no special kind: its status says it all, and its "
        f"<code>detail</code> what was found and expected.</p>{kinds}</html>"
    )


def _marked(text: str) -> str:
    """Markdown's code as HTML's."""
    return re.sub(r"`(.*?)`", r"<code>\1</code>", escape(text))
