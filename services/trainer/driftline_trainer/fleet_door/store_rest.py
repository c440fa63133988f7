"""The object store as edges reach it: each as far as `policy` lets it.

Keys come in the query, since paths are rewritten on their way: two slashes, dots and quoted slashes stay as they are.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from driftline.errors import Conflict, InvalidInput, NotAllowed, NotFound, TooLarge, Unstorable
from driftline.fleet.registration import Registration
from driftline.service.body import read_body
from driftline.service.problems import TOO_LARGE, UNSTORABLE, problem
from driftline.store.door_names import LIST, LIST_PAGE, MARK, MARK_VALUE, OBJECT, WATCH, WATCH_LONGEST_S
from driftline.store.hints import Keys
from driftline.store.port import Listed, Store, Stored
from driftline_trainer.fleet_door import policy
from driftline_trainer.fleet_door.changes import StoreChanges
from driftline_trainer.fleet_door.credentials import Turns, device
from driftline_trainer.fleet_door.edges import Edges
from driftline_trainer.fleet_door.policy import Policy, Verb

REQUESTS, WATCHES = 32, 8
"""Of one device at once: the others must have connections left."""
CHUNK = 64 * 1024
"""Bytes of a body that are sent at once: a slow client may take its time for each."""
MARKED = {MARK: MARK_VALUE}
"""Of what no cache keeps anyway: every edge gets such an answer each minute."""
HEADERS = {**MARKED, "Cache-Control": "no-store"}
BYTES: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
ERRORS: dict[int | str, dict[str, Any]] = {401: {}, 403: {}, 422: {}, 503: {}}

Key = Annotated[str, Query(max_length=2048, examples=["models/attic/batch/current.json"])]


class ListedObject(BaseModel):
    """An object as a listing shows it. `size` in bytes."""

    key: str
    size: int


class ListAnswer(BaseModel):
    """A page of a listing, in key order."""

    objects: list[ListedObject]
    more: bool


class WatchAnswer(BaseModel):
    """Keys that may have changed; null where that may be any. `cursor`: from where to watch next."""

    keys: list[str] | None
    cursor: str


@dataclass(frozen=True)
class DoorPolicy:
    """What an edge may do, and whether what is archived may be written twice."""

    refusal: Policy = policy.refusal

    def check(self, edge: str, verb: Verb, key: str) -> None:
        """Raises NotAllowed."""
        if (reason := self.refusal(edge, verb, key)) is not None:
            raise NotAllowed(reason)

    def check_overwriting(self, edge: str, key: str, *, if_absent: bool) -> None:
        """Raises NotAllowed where an edge would replace what it has archived."""
        if self.refusal is policy.refusal and policy.is_archived(key) and not if_absent:
            raise NotAllowed(f"edge {edge} may not replace {key!r}: what is archived stays as it is")


def routes(store: Store, edges: Edges, changes: Sequence[StoreChanges], refusal: Policy = policy.refusal) -> APIRouter:
    """refusal: what an edge may not do."""
    router = APIRouter(tags=["store"])
    door = DoorPolicy(refusal)
    _add_objects(router, store, edges, door)
    _add_lists(router, store, edges, door)
    _add_watch(router, edges, changes, door)
    return router


def _add_objects(router: APIRouter, store: Store, edges: Edges, door: DoorPolicy) -> None:
    turns = Turns(REQUESTS)
    edge = Annotated[Registration, Depends(device(edges))]

    @router.get(
        OBJECT,
        summary="Read an object",
        responses={200: {"content": BYTES}, 304: {"description": "It is unchanged."}, **ERRORS, 404: {}, 413: {}},
        response_class=Response,
    )
    async def get(
        request: Request, registration: edge, key: Key, limit: Annotated[int | None, Query(ge=0)] = None
    ) -> Response:
        only(request, "key", "limit")
        door.check(registration.edge, "get", key)
        with turns.turn(registration.edge):
            return await answered(lambda: _get(store, key, _etag(request, "if-none-match"), limit))

    @router.put(
        OBJECT,
        summary="Write an object",
        status_code=204,
        responses={204: {"description": "It is written; its ETag is in the header."}, **ERRORS, 412: {}, 413: {}},
        openapi_extra={"requestBody": {"required": True, "content": BYTES}},
        response_class=Response,
    )
    async def put(request: Request, registration: edge, key: Key) -> Response:
        only(request, "key")
        door.check(registration.edge, "put", key)
        if_absent, if_match = request.headers.get("if-none-match") == "*", _etag(request, "if-match")
        door.check_overwriting(registration.edge, key, if_absent=if_absent)
        with turns.turn(registration.edge):
            try:
                body = await read_body(request, policy.limit(key))
            except HTTPException as error:
                return problem(error.status_code, str(error.detail), headers=HEADERS)
            return await answered(lambda: _put(store, key, body, if_absent=if_absent, if_match=if_match))

    @router.delete(
        OBJECT,
        summary="Delete an object",
        status_code=204,
        responses={204: {"description": "It is gone."}, **ERRORS},
        response_class=Response,
    )
    async def delete(request: Request, registration: edge, key: Key) -> Response:
        only(request, "key")
        door.check(registration.edge, "delete", key)
        with turns.turn(registration.edge):
            await store.delete(key)
        return Response(status_code=204, headers=HEADERS)


def _add_lists(router: APIRouter, store: Store, edges: Edges, door: DoorPolicy) -> None:
    turns = Turns(REQUESTS)
    edge = Annotated[Registration, Depends(device(edges))]

    @router.get(LIST, summary="List objects", responses=ERRORS, response_model=ListAnswer)
    async def list_objects(request: Request, registration: edge, prefix: Key, after: Key = "") -> Response:
        only(request, "prefix", "after")
        door.check(registration.edge, "list", prefix)
        with turns.turn(registration.edge):
            return await _list(store, prefix, after, lambda key: door.refusal(registration.edge, "get", key) is None)


def _add_watch(router: APIRouter, edges: Edges, changes: Sequence[StoreChanges], door: DoorPolicy) -> None:
    turns = Turns(WATCHES)
    edge = Annotated[Registration, Depends(device(edges))]

    @router.get(WATCH, summary="Wait for changes", responses=ERRORS, response_model=WatchAnswer)
    async def watch(
        request: Request,
        registration: edge,
        prefix: Key,
        suffix: Key = "",
        cursor: Annotated[str, Query(max_length=64)] = "",
        wait: Annotated[float, Query(ge=0, le=WATCH_LONGEST_S)] = 0.0,
    ) -> Response:
        only(request, "prefix", "suffix", "cursor", "wait")
        door.check(registration.edge, "watch", prefix)
        of_prefix = next((one for one in changes if prefix.startswith(one.prefix)), None)
        if of_prefix is None:
            raise InvalidInput(f"prefix: found {prefix!r}, expected one below {[one.prefix for one in changes]}")
        with turns.turn(registration.edge):
            keys = await _unless_gone(request, of_prefix.since(cursor, prefix, suffix, wait))
        # It may have been revoked meanwhile.
        await device(edges)(request)
        readable = keys and sorted(key for key in keys if door.refusal(registration.edge, "get", key) is None)
        answer = WatchAnswer(keys=None if keys is None else list(readable or ()), cursor=of_prefix.cursor)
        return Response(answer.model_dump_json(), headers=MARKED, media_type="application/json")


async def _unless_gone(request: Request, changed: Coroutine[Any, Any, Keys]) -> Keys:
    """What has changed; nothing as soon as the client is not there any more, so that it has its turn back."""

    async def gone() -> Keys:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        return frozenset()

    waiting = [asyncio.create_task(changed), asyncio.create_task(gone())]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for task in waiting:
            task.cancel()


async def answered(ask: Callable[[], Awaitable[Response]]) -> Response:
    """The store's errors as HTTP's; those of being away are the app's."""
    try:
        return await ask()
    except NotFound as error:
        return problem(404, str(error), headers=HEADERS)
    except Conflict as error:
        return problem(412, str(error), headers=HEADERS)
    except TooLarge as error:
        return problem(413, str(error), kind=TOO_LARGE, headers=HEADERS, size=error.size)
    except Unstorable as error:
        return problem(422, str(error), kind=UNSTORABLE, headers=HEADERS, unstorable=True)


def only(request: Request, *names: str) -> None:
    """Raises InvalidInput for a parameter that comes twice, or that nobody knows: two readers may read it unalike."""
    given = [name for name, _ in request.query_params.multi_items()]
    odd = sorted({name for name in given if name not in names or given.count(name) > 1})
    if odd:
        raise InvalidInput(f"found {[name[:64] for name in odd]} in the query, expected each of {list(names)} once")


async def _get(store: Store, key: str, unless: str | None, limit: int | None) -> Response:
    stored = await store.get(key, unless=unless, limit=limit)
    if stored is None:
        return Response(status_code=304, headers=MARKED)
    headers = {**HEADERS, "ETag": f'"{stored.etag}"', "Content-Length": str(len(stored.body))}
    return StreamingResponse(_chunks(stored), headers=headers, media_type="application/octet-stream")


async def _chunks(stored: Stored) -> AsyncIterator[bytes]:
    view = memoryview(stored.body)
    for start in range(0, len(view), CHUNK):
        yield bytes(view[start : start + CHUNK])


async def _put(store: Store, key: str, body: bytes, *, if_absent: bool, if_match: str | None) -> Response:
    etag = await store.put(key, body, if_absent=if_absent, if_match=if_match)
    return Response(status_code=204, headers={**MARKED, "ETag": f'"{etag}"'})


async def _list(store: Store, prefix: str, after: str, readable: Callable[[str], bool]) -> Response:
    objects: list[Listed] = []
    async for listed in store.list(prefix, after=after):
        if len(objects) == LIST_PAGE:
            return _page(objects, more=True)
        if readable(listed.key):
            objects.append(listed)
    return _page(objects, more=False)


def _page(objects: Sequence[Listed], *, more: bool) -> Response:
    listed = [{"key": one.key, "size": one.size} for one in objects]
    return Response(
        msgspec.json.encode({"objects": listed, "more": more}), headers=HEADERS, media_type="application/json"
    )


def _etag(request: Request, header: str) -> str | None:
    given = request.headers.get(header)
    return None if given is None or given == "*" else given.strip().strip('"')
