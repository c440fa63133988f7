"""The client for programs with an event loop; what it says of its methods is said at `driftline_client.Client`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from typing import Self, TypeVar

import httpx
import stamina
from httpx_sse import EventSource

from driftline_client import calls
from driftline_client.calls import records
from driftline_client.calls.call import Call, Reply
from driftline_client.calls.records import BATCH, Row, Rows, SendReceipt
from driftline_client.connection import (
    PATIENCE_S,
    RECONNECT_S,
    TIMEOUT_S,
    Connection,
    no_answer,
    reply_of,
    urls_of,
)
from driftline_client.gathering import gathered
from driftline_client.live import FROM_NOW, LiveEvent, LiveReader
from driftline_client.methods import awaiting, awaiting_pages

T = TypeVar("T")


class AsyncClient:
    """As `Client`, for programs with an event loop: answers are awaited, and what comes piece by piece is read by
    `async for`."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        *,
        ingest: str | None = None,
        inference: str | None = None,
        combiner: str | None = None,
        trainer: str | None = None,
        token: str | None = None,
        timeout: float = TIMEOUT_S,
        patience: float = PATIENCE_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        urls = urls_of(host, ingest=ingest, inference=inference, combiner=combiner, trainer=trainer)
        self._connection = Connection(urls, token, timeout, patience)
        self._http = httpx.AsyncClient(timeout=timeout, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    forecast = awaiting(calls.forecasts.forecast)
    forecasts = awaiting_pages(calls.forecasts.forecasts)
    streams = awaiting(calls.scores.streams)
    scores = awaiting(calls.scores.scores)
    weights = awaiting_pages(calls.scores.weights)
    alerts = awaiting(calls.scores.alerts)
    models = awaiting(calls.models.models)
    roll_back = awaiting(calls.models.roll_back)
    pin = awaiting(calls.models.pin)
    train = awaiting(calls.training.train)
    job = awaiting(calls.training.job)
    jobs = awaiting(calls.training.jobs)
    rollouts = awaiting(calls.rollouts.rollouts)
    rollout = awaiting(calls.rollouts.rollout)
    steer_rollout = awaiting(calls.rollouts.steer_rollout)
    fleet = awaiting(calls.fleet.fleet)
    edge = awaiting(calls.fleet.edge)
    versions = awaiting(calls.fleet.versions)
    version = awaiting(calls.fleet.version)
    send_body = awaiting(calls.records.records)
    send_futures_body = awaiting(calls.records.futures)

    async def send(
        self, stream: str, rows: Rows | AsyncIterable[Row], *, batch: int = BATCH, mapped: bool = False
    ) -> SendReceipt:
        """Sends one record or any number of them, and returns what became of all; see `Client.send`."""
        total = SendReceipt()
        async for receipt in self.sending(stream, rows, batch=batch, mapped=mapped):
            total += receipt
        return total

    async def sending(
        self, stream: str, rows: Rows | AsyncIterable[Row], *, batch: int = BATCH, mapped: bool = False
    ) -> AsyncIterator[SendReceipt]:
        """The same, with a receipt for each batch as soon as that is acknowledged. What comes from an asynchronous
        source is sent at once: a batch is what has come while the one before was on its way."""
        async for body in _bodies(rows, batch):
            yield await self.send_body(stream, body, mapped=mapped)

    async def send_futures(
        self, stream: str, rows: Rows | AsyncIterable[Row], *, batch: int = BATCH, mapped: bool = False
    ) -> SendReceipt:
        """As `send`, for values that are known ahead: with the time that each is for, and when it was `issued`."""
        total = SendReceipt()
        async for body in _bodies(rows, batch):
            total += await self.send_futures_body(stream, body, mapped=mapped)
        return total

    async def live(self, stream: str, key: str, *, after: int = FROM_NOW) -> AsyncGenerator[LiveEvent, None]:
        """Blends and alerts of a series as they come, without end; see `Client.live`."""
        reader = LiveReader(stream, key, after)
        while True:
            async with aclosing(await self._opened(reader.call)) as answer:
                async for event in self._events(answer, reader):
                    yield event
            await asyncio.sleep(RECONNECT_S)

    async def ask(self, call: Call[T]) -> T:
        """The answer of a call; see the functions of `driftline_client.calls`."""
        return (await self._page(call))[0]

    async def pages(self, call: Call[list[T]]) -> AsyncIterator[T]:
        """The items of a call's page and of those behind it."""
        further: Call[list[T]] | None = call
        while further is not None:
            page, following = await self._page(further)
            for item in page:
                yield item
            further = call.at(following) if following is not None else None

    async def _page(self, call: Call[T]) -> tuple[T, str | None]:
        """The answer, and the address of the page behind it."""
        async for attempt in stamina.retry_context(**self._connection.retries(call)):
            with attempt:
                reply = await self._reply(call)
                return call.read(reply), reply.next_page
        raise AssertionError("the last attempt returns or raises")

    async def _reply(self, call: Call[T]) -> Reply:
        request = self._connection.request(call)
        try:
            return reply_of(await self._http.request(**request), call.service)
        except httpx.RequestError as error:
            raise no_answer(request["url"], error) from error

    async def _opened(self, call: Call[None]) -> httpx.Response:
        """A live answer."""
        async for attempt in stamina.retry_context(**self._connection.retries(call)):
            with attempt:
                return await self._stream(call)
        raise AssertionError("the last attempt returns or raises")

    async def _stream(self, call: Call[None]) -> httpx.Response:
        request = self._http.build_request(**self._connection.request(call), timeout=self._connection.live_timeout)
        try:
            answer = await self._http.send(request, stream=True)
            if answer.is_error:
                async with aclosing(answer):
                    await answer.aread()
                call.read(reply_of(answer, call.service))
        except httpx.RequestError as error:
            raise no_answer(str(request.url), error) from error
        return answer

    async def _events(self, answer: httpx.Response, reader: LiveReader) -> AsyncIterator[LiveEvent]:
        """Until the connection is lost."""
        try:
            async for event in EventSource(answer).aiter_sse():
                if (content := reader.take(event)) is not None:
                    yield content
        except httpx.RequestError:
            return


async def _bodies(rows: Rows | AsyncIterable[Row], most: int) -> AsyncIterator[bytes]:
    """NDJSON of at most so many rows."""
    if isinstance(rows, AsyncIterable):
        async for several in gathered(rows, most):
            for body in records.batches(map(records.encoded, several), most):
                yield body
    else:
        for body in records.batches(map(records.encoded, records.listed(rows)), most):
            yield body
