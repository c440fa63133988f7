"""Requests that go to their handlers past the router, whose layers cost more than to take a record in."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

Handler = Callable[[Request], Awaitable[Response]]


class DirectPaths:
    """A middleware that hands POST requests to some paths over to their handlers. behind: the app, whose
    answers to errors are theirs, too."""

    def __init__(self, app: ASGIApp, *, handlers: Mapping[str, Handler], behind: FastAPI) -> None:
        self._app = app
        self._handlers = handlers
        unexpected = (Exception, HTTPStatus.INTERNAL_SERVER_ERROR)
        errors = {kind: answer for kind, answer in behind.exception_handlers.items() if kind not in unexpected}
        self._direct = ExceptionMiddleware(self._answer, handlers=errors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_direct = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._handlers
        await (self._direct if is_direct else self._app)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._handlers[scope["path"]](Request(scope, receive))
        await response(scope, receive, send)
