"""The object store behind the trainer's door: HTTPS, a credential of this device, and no more than is its own."""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import stamina

from driftline.clock import believed, shown
from driftline.errors import ClockUnset, Conflict, NotFound, StoreUnavailable, TooLarge, Unstorable
from driftline.store import object_names
from driftline.store.answer_time import offset
from driftline.store.door_names import LIST, MARK, MARK_VALUE, OBJECT, WATCH, WATCH_LONGEST_S
from driftline.store.hints import Hints, Keys, hinted
from driftline.store.port import Listed, Stored

log = logging.getLogger(__name__)

KEPT_OPEN_S = 240.0
"""A connection is kept so long without use: a new one costs a handshake of TLS, some kilobytes."""
AT_ONCE = 4
"""Connections beside those that wait for changes."""
SLACK_S = 20.0
"""How much later than promised the answer of a watch may come."""
ANSWER_LIMIT = 1024 * 1024
"""Bytes of an answer that is no object."""
AUTHORIZATION = "Authorization"


@dataclass(frozen=True)
class DoorSettings:
    """Where the door is, and what is shown there: a credential, or the file that holds it and may change."""

    url: str
    token: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout: float = 10.0
    """Seconds without a byte."""


class DoorStore:
    """See `driftline.store.port.Store`. The client is made when it is needed first, since TLS reads files."""

    def __init__(self, settings: DoorSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._offset: float | None = None

    @property
    def clock_offset(self) -> float | None:
        """See `driftline.store.port.TellsTime`; to about a second, as the newest answer said."""
        return self._offset

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        if object_names.refusal(key) is not None:
            raise NotFound(f"no object {key}")
        condition = {"If-None-Match": f'"{unless}"'} if unless else {}
        query: dict[str, Any] = {"key": key} | ({"limit": limit} if limit is not None else {})
        answer = await self._ask("GET", OBJECT, key, query, headers=condition, limit=limit)
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return None
        return Stored(answer.content, answer.headers["etag"].strip('"'))

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if (reason := object_names.refusal(key)) is not None:
            raise Unstorable(reason)
        condition = {"If-None-Match": "*"} if if_absent else {"If-Match": f'"{if_match}"'} if if_match else {}
        answer = await self._ask("PUT", OBJECT, key, {"key": key}, headers=condition, content=body)
        return str(answer.headers["etag"]).strip('"')

    async def delete(self, key: str) -> None:
        if object_names.refusal(key) is None:
            await self._ask("DELETE", OBJECT, key, {"key": key})

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        while True:
            answer = await self._ask("GET", LIST, prefix, {"prefix": prefix, "after": after})
            page = _decoded(answer, _Page, prefix)
            for listed in page.objects:
                yield Listed(listed.key, listed.size)
            if not page.more or not page.objects:
                return
            after = page.objects[-1].key

    async def watch(self, prefix: str, *, suffix: str = "", poll: float) -> AsyncGenerator[Keys]:
        async with aclosing(hinted(partial(self._listen, prefix, suffix), poll=poll)) as waking:
            async for keys in waking:
                yield keys

    async def check(self) -> None:
        # The cheapest that the door answers to a device, and to nobody else.
        await self._ask("GET", WATCH, "the door", {"prefix": "models/", "wait": 0})

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _listen(self, prefix: str, suffix: str, hints: Hints) -> None:
        """Turns the door's answers into hints; while it is away, the poll goes on alone."""
        cursor = ""
        while True:
            async for attempt in stamina.retry_context(
                on=(StoreUnavailable, NotFound), attempts=None, timeout=None, wait_max=60.0
            ):
                with attempt:
                    cursor = await self._wait(prefix, suffix, cursor, hints)

    async def _wait(self, prefix: str, suffix: str, cursor: str, hints: Hints) -> str:
        query = {"prefix": prefix, "suffix": suffix, "cursor": cursor, "wait": WATCH_LONGEST_S if cursor else 0}
        patience = httpx.Timeout(self._settings.timeout, read=WATCH_LONGEST_S + SLACK_S)
        answer = _decoded(await self._ask("GET", WATCH, prefix, query, timeout=patience), _Changes, prefix)
        # The first answer only says from where on: whoever watches looks at the store by itself at first.
        if cursor:
            hints.add(None if answer.keys is None else frozenset(answer.keys))
        return str(answer.cursor)

    async def _ask(
        self,
        method: str,
        path: str,
        key: str,
        query: dict[str, Any],
        *,
        limit: int | None = None,
        timeout: httpx.Timeout | None = None,
        **more: Any,
    ) -> httpx.Response:
        """The answer, read to its end. Raises the port's errors. limit: bytes of it; timeout: of one that waits."""
        more["headers"] = {**more.get("headers", {}), AUTHORIZATION: f"Bearer {self._token()}"}
        try:
            client = self._opened()
            if timeout is not None:
                return await self._answer(client, method, path, key, query, limit, timeout=timeout, **more)
            async with self._turns:
                return await self._answer(client, method, path, key, query, limit, **more)
        except httpx.HTTPError as error:
            why = why_no_answer(error, self._settings.ca_file, self._clock())
            raise StoreUnavailable(f"{key}: {why}") from error

    async def _answer(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        key: str,
        query: dict[str, Any],
        limit: int | None,
        **more: Any,
    ) -> httpx.Response:
        async with client.stream(method, path, params=query, **more) as answer:
            self._note_time(answer)
            is_object = answer.is_success and path == OBJECT and method == "GET"
            content = await _whole(answer, key, limit if is_object else ANSWER_LIMIT)
        whole = httpx.Response(answer.status_code, headers=answer.headers, request=answer.request)
        whole._content = content  # noqa: SLF001 - its own way from a stream to an answer is without a bound
        self._check(whole, key, limit)
        return whole

    def _note_time(self, answer: httpx.Response) -> None:
        """What is no door may have any clock."""
        seconds = offset(answer.headers, self._clock()) if answer.headers.get(MARK) == MARK_VALUE else None
        self._offset = seconds if seconds is not None else self._offset

    def _check(self, answer: httpx.Response, key: str, limit: int | None) -> None:
        """Raises the port's error that an answer means, if any."""
        if answer.headers.get(MARK) != MARK_VALUE:
            raise StoreUnavailable(f"{key}: {self._stranger(answer)}")
        if answer.is_success or answer.status_code == httpx.codes.NOT_MODIFIED:
            return
        detail = _detail(answer)
        match answer.status_code:
            case httpx.codes.NOT_FOUND:
                raise NotFound(f"no object {key}")
            case httpx.codes.PRECONDITION_FAILED:
                raise Conflict(detail)
            case httpx.codes.REQUEST_ENTITY_TOO_LARGE if limit is not None:
                raise TooLarge(key, _size(answer), limit)
            case httpx.codes.UNPROCESSABLE_ENTITY | httpx.codes.REQUEST_ENTITY_TOO_LARGE:
                raise Unstorable(f"{key}: {detail}")
        raise StoreUnavailable(f"{key}: the store answered {answer.status_code}: {detail}")

    def _stranger(self, answer: httpx.Response) -> str:
        """What an answer says that is not the store's own: the door's to strangers, or that of something else."""
        status = answer.status_code
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.SERVICE_UNAVAILABLE}:
            return f"the cloud answered {status}: {_detail(answer)}"
        if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            return f"the cloud takes no body of that size: {_detail(answer)}"
        return f"{self._settings.url} answered {status}, and is no door of a store: expected the trainer's address"

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            settings = self._settings
            self._client = client_of(settings.url, settings.ca_file, settings.timeout)
        return self._client

    def _token(self) -> str:
        settings = self._settings
        if settings.token_file is None:
            return settings.token or ""
        try:
            # Read for each request: another credential takes its place every month.
            token = settings.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"{settings.token_file}: found no credential: {type(error).__name__}") from None
        if not token:
            raise StoreUnavailable(f"{settings.token_file}: found nothing, expected a credential")
        return token


def client_of(url: str, ca_file: Path | None, timeout: float) -> httpx.AsyncClient:
    """A client of the cloud at `url`. Raises StoreUnavailable where the file of authorities can't be read."""
    is_encrypted = url.startswith("https://")
    try:
        tls = tls_of(ca_file) if is_encrypted else False
    except OSError as error:
        raise StoreUnavailable(f"{ca_file}: found no certificates in PEM: {error.strerror}") from error
    client = httpx.AsyncClient(
        base_url=url,
        timeout=timeout,
        verify=tls,
        limits=httpx.Limits(keepalive_expiry=KEPT_OPEN_S),
        # A proxy of the environment sees what is encrypted, and nothing else.
        trust_env=is_encrypted,
        follow_redirects=False,
    )
    client.headers["Accept-Encoding"] = "identity"
    # What says nothing is left out: an idle edge asks 2,300 times a day.
    for name in ("Accept", "Connection", "User-Agent"):
        del client.headers[name]
    return client


def tls_of(ca_file: Path | None) -> ssl.SSLContext:
    """Believes the authorities in the file alone, or those that everybody trusts. Raises OSError."""
    return ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context()


def why_no_answer(error: httpx.HTTPError, ca_file: Path | None, now: float) -> str:
    """Why nothing came, and whether this machine's clock is the reason."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the cloud is not trusted: {cause.verify_message}{_clock_note(ca_file, now)}"
        cause = cause.__cause__ or cause.__context__
    return f"the cloud does not answer: {type(error).__name__}"


def _clock_note(ca_file: Path | None, now: float) -> str:
    try:
        believed(now)
    except ClockUnset as unset:
        return f"; {unset}"
    return (
        f" (by the authorities of {ca_file or 'those that everybody trusts'}; this machine's clock shows {shown(now)})"
    )


class _PageObject(msgspec.Struct, frozen=True):
    key: str
    size: int


class _Page(msgspec.Struct, frozen=True):
    objects: list[_PageObject]
    more: bool


class _Changes(msgspec.Struct, frozen=True):
    keys: list[str] | None
    cursor: str


async def _whole(answer: httpx.Response, key: str, limit: int | None) -> bytes:
    """The body. Raises TooLarge as soon as it has more than `limit` bytes; the rest is not fetched then."""
    announced = answer.headers.get("content-length", "")
    size = int(announced) if announced.isascii() and announced.isdigit() else None
    if limit is not None and size is not None and size > limit:
        raise TooLarge(key, size, limit)
    content = bytearray()
    async for piece in answer.aiter_bytes():
        content += piece
        if limit is not None and len(content) > limit:
            raise TooLarge(key, size, limit)
    return bytes(content)


def _decoded(answer: httpx.Response, kind: type[Any], key: str) -> Any:
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreUnavailable(f"{key}: the store answered what is no {kind.__name__[1:].lower()}: {error}") from error


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])[:500]
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase


def _size(answer: httpx.Response) -> int | None:
    try:
        size = answer.json().get("size")
    except (ValueError, AttributeError):
        return None
    return size if isinstance(size, int) else None
