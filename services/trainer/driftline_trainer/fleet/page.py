"""The fleet's page: `/fleet`, and what it loads. It reads `/v1/fleet` and changes nothing."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

PAGE: Final = Path(__file__).with_name("page")
SAFE: Final = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def assets() -> StaticFiles:
    """Scripts and styles, all of them local."""
    return StaticFiles(directory=PAGE)


def routes() -> APIRouter:
    """Addresses are relative, so it also works behind a proxy's prefix."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def first() -> RedirectResponse:
        return RedirectResponse("fleet")

    @router.get("/fleet")
    async def fleet() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=SAFE)

    return router
