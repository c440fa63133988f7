"""`GET /docs` of every service: Swagger UI 5.35.0, from the package itself, since an edge may have no internet."""

import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Header
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

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
