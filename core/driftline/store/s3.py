"""The object store on S3. The only importer of aiobotocore."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import aiohttp
import stamina
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import BotoCoreError, ClientError, SSLError
from botocore.loaders import Loader, create_loader

from driftline.clock import shown
from driftline.errors import Conflict, NotFound, StoreUnavailable, TooLarge, Unstorable
from driftline.store import object_names, s3_events
from driftline.store.answer_time import answered_at, offset
from driftline.store.hints import Hints, Keys, hinted
from driftline.store.port import Listed, Stored

log = logging.getLogger(__name__)

NOT_MODIFIED = 304
MISSING = {"NoSuchKey", "404", "NotFound"}
LOST = {"PreconditionFailed", "412"}
UNDER_WAY = {"ConditionalRequestConflict", "409"}
"""Another put of the same object has not ended yet, and nobody knows whether it will succeed."""
NEVER = {
    *("KeyTooLongError", "KeyTooLong", "InvalidURI", "InvalidObjectName", "EntityTooLarge"),
    *("XMinioInvalidObjectName", "XMinioInvalidResourceName"),
}
"""What servers answer to an object that they will never take; other refusals may be of a clock, a password, a link."""
SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
"""How S3 and SQS refuse a request whose time they don't believe, where they say so."""
UNSAID = {"400", "403", "SignatureDoesNotMatch", "InvalidSignatureException"}
"""... and where they don't: SQS calls the signature wrong, and an answer to HEAD has no body."""
BELIEVED_S = 240.0
"""By how much clocks may differ: AWS believes 5 minutes at least."""
LONG_POLL_S = 10


@dataclass(frozen=True)
class S3Settings:
    """Where the bucket is. Credentials come from the environment or the machine's role, as every AWS tool's do."""

    bucket: str
    prefix: str = ""
    """In front of every key; empty or ending in a slash."""
    endpoint: str | None = None
    region: str = "us-east-1"
    queue: str | None = None
    """URL of an SQS queue that brings the bucket's events."""
    timeout: float = 5.0


@dataclass(frozen=True, eq=False)
class _Watcher:
    """Who waits for events of keys between `prefix`, as events name it, and `suffix`."""

    prefix: str
    suffix: str
    hints: Hints


class _UnderWayError(Exception):
    """S3's way to say that another put must end first."""


class S3Store:
    """See `driftline.store.port.Store`. Clients are made when they are needed first."""

    def __init__(self, settings: S3Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._clients: dict[str, Any] = {}
        self._open = AsyncExitStack()
        self._offset: float | None = None
        self._opening = asyncio.Lock()
        self._watching: list[_Watcher] = []
        self._receiving = asyncio.Lock()

    @property
    def clock_offset(self) -> float | None:
        """See `driftline.store.port.TellsTime`; to about a second, as the newest answer said."""
        return self._offset

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        condition = {"IfNoneMatch": f'"{unless}"'} if unless else {}
        s3 = await self._client("s3")
        try:
            with self._answering(key):
                answer = await s3.get_object(**self._address(key), **condition)
                self._note_time(answer)
                async with answer["Body"] as body:
                    return Stored(await _whole(body, key, answer.get("ContentLength"), limit), _etag(answer))
        except _NotModifiedError:
            return None
        except Unstorable as error:
            raise NotFound(f"no object {key}") from error

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        condition = {"IfNoneMatch": "*"} if if_absent else {"IfMatch": f'"{if_match}"'} if if_match else {}
        if (reason := object_names.refusal(self._settings.prefix + key)) is not None:
            raise Unstorable(reason)
        try:
            return await self._put(key, body, condition)
        except NotFound as error:
            # A condition on an object that is not there is lost, too.
            raise Conflict(f"{key}: found nothing, expected etag {if_match}") from error
        except _UnderWayError as error:
            raise StoreUnavailable(f"{key}: another one is still putting it there") from error

    @stamina.retry(on=_UnderWayError, attempts=8, timeout=None, wait_initial=0.05, wait_max=1.0)
    async def _put(self, key: str, body: bytes, condition: dict[str, str]) -> str:
        s3 = await self._client("s3")
        with self._answering(key):
            answer = await s3.put_object(**self._address(key), Body=body, **condition)
            self._note_time(answer)
            return _etag(answer)

    async def delete(self, key: str) -> None:
        s3 = await self._client("s3")
        with self._answering(key):
            await s3.delete_object(**self._address(key))

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        s3 = await self._client("s3")
        base = self._settings.prefix
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._settings.bucket, Prefix=base + prefix, **({"StartAfter": base + after} if after else {})
        )
        with self._answering(prefix):
            async for page in pages:
                for entry in page.get("Contents", ()):
                    yield Listed(entry["Key"].removeprefix(base), entry["Size"])

    async def watch(self, prefix: str, *, suffix: str = "", poll: float) -> AsyncGenerator[Keys]:
        listen = partial(self._listen, prefix, suffix) if self._settings.queue else None
        async with aclosing(hinted(listen, poll=poll)) as waking:
            async for keys in waking:
                yield keys

    async def _listen(self, prefix: str, suffix: str, hints: Hints) -> None:
        """Turns the queue's events into hints; while the queue is away the poll goes on alone."""
        watcher = _Watcher(self._settings.prefix + prefix, suffix, hints)
        self._watching.append(watcher)
        try:
            while True:
                async for attempt in stamina.retry_context(
                    on=StoreUnavailable, attempts=None, timeout=None, wait_max=30.0
                ):
                    with attempt:
                        await self._receive()
        finally:
            self._watching.remove(watcher)

    async def _receive(self) -> None:
        """An event comes out of the queue once, so whoever takes it gives it to all that watch."""
        async with self._receiving:
            sqs, queue = await self._client("sqs"), self._settings.queue
            with self._answering("the event queue"):
                answer = await sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=LONG_POLL_S)
                messages = answer.get("Messages", ())
                for message in messages:
                    self._hint_all(message["Body"])
                handles = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
                if handles:
                    await sqs.delete_message_batch(QueueUrl=queue, Entries=handles)

    def _hint_all(self, event: str) -> None:
        base = self._settings.prefix
        for watcher in self._watching:
            keys = s3_events.concerned(event, watcher.prefix, watcher.suffix)
            watcher.hints.add(keys and frozenset(key.removeprefix(base) for key in keys))

    async def check(self) -> None:
        s3 = await self._client("s3")
        try:
            with self._answering("the bucket"):
                await s3.head_bucket(Bucket=self._settings.bucket)
        except NotFound as error:
            raise StoreUnavailable(f"found no bucket {self._settings.bucket!r}") from error

    async def close(self) -> None:
        async with self._opening:
            self._clients = {}
            await self._open.aclose()

    def _note_time(self, answer: Any) -> None:
        seconds = offset(answer["ResponseMetadata"].get("HTTPHeaders", {}), self._clock())
        self._offset = seconds if seconds is not None else self._offset

    def _address(self, key: str) -> dict[str, str]:
        return {"Bucket": self._settings.bucket, "Key": self._settings.prefix + key}

    async def _client(self, service: str) -> Any:
        async with self._opening:
            if service not in self._clients:
                config = AioConfig(
                    connect_timeout=self._settings.timeout,
                    read_timeout=self._settings.timeout + (LONG_POLL_S if service == "sqs" else 0),
                    retries={"mode": "standard", "max_attempts": 2},
                )
                client = session().create_client(
                    service, region_name=self._settings.region, endpoint_url=self._settings.endpoint, config=config
                )
                self._clients[service] = await self._open.enter_async_context(client)
            return self._clients[service]

    @contextmanager
    def _answering(self, key: str) -> Iterator[None]:
        """S3's errors as ours."""
        try:
            yield
        except ClientError as error:
            code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            self._note_time(error.response)
            if status == NOT_MODIFIED:
                raise _NotModifiedError from error
            if code in MISSING:
                raise NotFound(f"no object {key}") from error
            if code in NEVER:
                raise Unstorable(
                    f"{key}: the store answered {status} {code}, expected it to take the object"
                ) from error
            if code in UNDER_WAY:
                raise _UnderWayError from error
            if code in LOST:
                raise Conflict(f"{key}: another one was there first") from error
            if wrong := _wrong_clock(error.response, self._clock()):
                raise StoreUnavailable(f"{key}: {wrong}") from error
            raise StoreUnavailable(f"{key}: the store answered {status} {code}") from error
        except SSLError as error:
            raise StoreUnavailable(f"{key}: the store is not trusted: {_distrust(self._settings, error)}") from error
        except (BotoCoreError, aiohttp.ClientError, OSError, TimeoutError) as error:
            # A link that is cut in the middle of a body is aiohttp's own error.
            raise StoreUnavailable(f"{key}: the store does not answer: {type(error).__name__}") from error


def session() -> AioSession:
    """A session whose descriptions of AWS's services are read once a process: they are megabytes of JSON."""
    aio_session = get_session()
    aio_session.register_component("data_loader", _descriptions())
    return aio_session


@cache
def _descriptions() -> Loader:
    return create_loader()


class _NotModifiedError(Exception):
    """S3's way to say that nothing has changed."""


def _distrust(settings: S3Settings, error: Exception) -> str:
    """Why TLS with the server failed, and which variable says whom to trust."""
    cause: BaseException | None = error
    while cause is not None:
        # aiohttp's own error is a certificate error, too, but without the reason.
        if why := getattr(cause, "verify_message", None):
            authorities = os.environ.get("AWS_CA_BUNDLE") or "those that come along"
            return (
                f"the certificate of {settings.endpoint or 'AWS'} was not made by an authority of {authorities} "
                f"(AWS_CA_BUNDLE): {why}"
            )
        cause = cause.__cause__ or cause.__context__
    return f"{settings.endpoint or 'AWS'} does not speak TLS as this client does"


async def _whole(body: Any, key: str, size: int | None, limit: int | None) -> bytes:
    """The body, or TooLarge. Who leaves without reading closes the connection, and the rest is never sent."""
    if limit is None:
        return bytes(await body.read())
    if size is not None and size > limit:
        raise TooLarge(key, size, limit)
    content = bytearray()
    while piece := await body.read(limit + 1 - len(content)):
        content += piece
        if len(content) > limit:
            raise TooLarge(key, size, limit)
    return bytes(content)


def _wrong_clock(answer: Any, now: float) -> str | None:
    """What a refusal says of this machine's clock, or None where that is not what is wrong."""
    code, theirs = answer["Error"]["Code"], answered_at(answer["ResponseMetadata"].get("HTTPHeaders", {}))
    apart = theirs is not None and abs(theirs - now) > BELIEVED_S
    if code not in SKEWED and not (apart and code in UNSAID):
        return None
    store = shown(theirs) if theirs is not None else "not told"
    return f"the store refuses this machine's clock: it shows {shown(now)}, the store's is {store}"


def _etag(answer: Any) -> str:
    return str(answer["ETag"]).strip('"')
