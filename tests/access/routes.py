"""All routes of an app, also those that its description leaves out."""

from collections.abc import Iterable, Iterator

from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount


def routes_of(app: FastAPI) -> set[str]:
    """Each as `METHOD /path`."""
    return set(_walk(app.routes))


def _walk(routes: Iterable[BaseRoute]) -> Iterator[str]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _walk(inner.routes)
        elif isinstance(route, Mount):
            yield f"GET {route.path}/x"
        else:
            yield from (f"{method} {route.path}" for method in route.methods if method != "HEAD")  # type: ignore[attr-defined]
