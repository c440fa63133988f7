"""The client for programs without an event loop."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Self, TypeVar

import httpx
import stamina
from httpx_sse import EventSource

from driftline_client import calls
from driftline_client.calls import records
from driftline_client.calls.call import Call, Reply
from driftline_client.calls.records import BATCH, Rows, SendReceipt
from driftline_client.connection import (
    PATIENCE_S,
    RECONNECT_S,
    TIMEOUT_S,
    Connection,
    no_answer,
    reply_of,
    urls_of,
)
from driftline_client.live import FROM_NOW, LiveEvent, LiveReader
from driftline_client.methods import asking, paging

T = TypeVar("T")


class Client:
    """Speaks to the services of one site; it may be used by several threads at once.

    host: where they all are, at their usual ports; ingest, inference, combiner, trainer: the addresses of those that
    are elsewhere. token: sent to all of them. timeout: seconds for one answer. patience: seconds in which a request
    that may be repeated is tried again while its service can't answer, as far apart as that wants; 0 for none.

    All methods raise NoAnswer, StrangeAnswer, Forbidden, Busy and BadRequest, see `driftline_client.errors`.
    """

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        urls = urls_of(host, ingest=ingest, inference=inference, combiner=combiner, trainer=trainer)
        self._connection = Connection(urls, token, timeout, patience)
        self._http = httpx.Client(timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    forecast = asking(calls.forecasts.forecast)
    forecasts = paging(calls.forecasts.forecasts)
    streams = asking(calls.scores.streams)
    scores = asking(calls.scores.scores)
    weights = paging(calls.scores.weights)
    alerts = asking(calls.scores.alerts)
    models = asking(calls.models.models)
    roll_back = asking(calls.models.roll_back)
    pin = asking(calls.models.pin)
    train = asking(calls.training.train)
    job = asking(calls.training.job)
    jobs = asking(calls.training.jobs)
    rollouts = asking(calls.rollouts.rollouts)
    rollout = asking(calls.rollouts.rollout)
    steer_rollout = asking(calls.rollouts.steer_rollout)
    fleet = asking(calls.fleet.fleet)
    edge = asking(calls.fleet.edge)
    versions = asking(calls.fleet.versions)
    version = asking(calls.fleet.version)
    send_body = asking(calls.records.records)
    send_futures_body = asking(calls.records.futures)

    def send(self, stream: str, rows: Rows, *, batch: int = BATCH, mapped: bool = False) -> SendReceipt:
        """Sends one record or any number of them, batch by batch, and returns what became of all.

        rows: a mapping by column, or an iterable of such, read as it is needed. mapped: whether the columns are the
        definition's own, already mapped and scaled. A record that can't be used is listed, and holds no other back;
        sending again is harmless.
        """
        return records.total(self.sending(stream, rows, batch=batch, mapped=mapped))

    def sending(self, stream: str, rows: Rows, *, batch: int = BATCH, mapped: bool = False) -> Iterator[SendReceipt]:
        """The same, with a receipt for each batch as soon as that is acknowledged."""
        lines = map(records.encoded, records.listed(rows))
        for body in records.batches(lines, batch):
            yield self.send_body(stream, body, mapped=mapped)

    def send_futures(self, stream: str, rows: Rows, *, batch: int = BATCH, mapped: bool = False) -> SendReceipt:
        """As `send`, for values that are known ahead: with the time that each is for, and when it was `issued`."""
        bodies = records.batches(map(records.encoded, records.listed(rows)), batch)
        return records.total(self.send_futures_body(stream, body, mapped=mapped) for body in bodies)

    def live(self, stream: str, key: str, *, after: int = FROM_NOW) -> Generator[LiveEvent, None, None]:
        """Blends and alerts of a series as they come, without end; a lost connection is made again, and nothing that
        the service remembers is missed or comes twice.

        after: a time in milliseconds since the epoch, to begin with what is remembered behind it.
        """
        reader = LiveReader(stream, key, after)
        while True:
            with closing(self._opened(reader.call)) as answer:
                yield from self._events(answer, reader)
            time.sleep(RECONNECT_S)

    def ask(self, call: Call[T]) -> T:
        """The answer of a call; see the functions of `driftline_client.calls`."""
        return self._page(call)[0]

    def pages(self, call: Call[list[T]]) -> Iterator[T]:
        """The items of a call's page and of those behind it."""
        further: Call[list[T]] | None = call
        while further is not None:
            page, following = self._page(further)
            yield from page
            further = call.at(following) if following is not None else None

    def _page(self, call: Call[T]) -> tuple[T, str | None]:
        """The answer, and the address of the page behind it."""
        for attempt in stamina.retry_context(**self._connection.retries(call)):
            with attempt:
                reply = self._reply(call)
                return call.read(reply), reply.next_page
        raise AssertionError("the last attempt returns or raises")

    def _reply(self, call: Call[T]) -> Reply:
        request = self._connection.request(call)
        try:
            return reply_of(self._http.request(**request), call.service)
        except httpx.RequestError as error:
            raise no_answer(request["url"], error) from error

    def _opened(self, call: Call[None]) -> httpx.Response:
        """A live answer."""
        for attempt in stamina.retry_context(**self._connection.retries(call)):
            with attempt:
                return self._stream(call)
        raise AssertionError("the last attempt returns or raises")

    def _stream(self, call: Call[None]) -> httpx.Response:
        request = self._http.build_request(**self._connection.request(call), timeout=self._connection.live_timeout)
        try:
            answer = self._http.send(request, stream=True)
            if answer.is_error:
                with closing(answer):
                    answer.read()
                call.read(reply_of(answer, call.service))
        except httpx.RequestError as error:
            raise no_answer(str(request.url), error) from error
        return answer

    def _events(self, answer: httpx.Response, reader: LiveReader) -> Iterator[LiveEvent]:
        """Until the connection is lost."""
        try:
            for event in EventSource(answer).iter_sse():
                if (content := reader.take(event)) is not None:
                    yield content
        except httpx.RequestError:
            return
