"""Routes whose handlers get the request as it is, without the parameters and checks of FastAPI."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from driftline.service.direct import Handler


class DirectRoute(APIRoute):
    """Hands the request over as it is: what FastAPI does for parameters costs more than taking a record in."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


def direct_handlers(router: APIRouter) -> dict[str, Handler]:
    """By path the handlers that get requests as they are."""
    return {route.path: route.endpoint for route in router.routes if isinstance(route, DirectRoute)}
