"""`/embed/{stream}/{key}`: a small picture of one series that pages of others may show in a frame."""

from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

PAGE = Path(__file__).with_name("page") / "embed.html"
BASE = '<base href="../../">'
"""As it is in the page, for a key without a slash."""


def routes(origins: Sequence[str]) -> APIRouter:
    """origins: of the pages that may frame it, beside those that are served from here."""
    router = APIRouter()
    headers = {
        "Content-Security-Policy": f"default-src 'self'; base-uri 'self'; frame-ancestors {_ancestors(origins)}",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }

    @router.get("/embed/{stream}/{key:path}", include_in_schema=False)
    async def embed(request: Request, stream: str, key: str) -> HTMLResponse:  # noqa: ARG001 - the page reads its address
        return HTMLResponse(PAGE.read_text(encoding="utf-8").replace(BASE, _base(request)), headers=headers)

    return router


def _ancestors(origins: Sequence[str]) -> str:
    return "*" if "*" in origins else " ".join(("'self'", *origins))


def _base(request: Request) -> str:
    """The way to what is beside `/embed`, also behind a proxy that serves it below a path. Slashes of a key count
    where they are written plainly."""
    path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    _, _, series = path.partition(b"/embed/")
    return f'<base href="{"../" * (series.count(b"/") + 1)}">'
