"""Blends or alerts as the combiner tells them, where the bus lies in the edge's own process."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import httpx
import msgspec

from driftline.messages import Alert, Blend
from driftline.worker.stream_step import Series
from driftline_cli import tokens
from driftline_cli.tailing import TOPICS, Selection

LOOK_S = 1.0
"""Time between looks for new series."""
EVENTS = {"blends": "blend", "alerts": "alert"}
"""By what is followed, the name of its events."""
ENDED = "the combiner has ended its answer"

News = asyncio.Queue[Blend | Alert | httpx.HTTPError]


async def follow(url: str, wanted: Selection, *, earliest: bool) -> AsyncGenerator[Blend | Alert]:
    """The messages that are wanted, from now on or from the first that the combiner remembers. Raises HTTPError."""
    news: News = asyncio.Queue()
    async with httpx.AsyncClient(
        base_url=url, headers=tokens.reading(url), timeout=httpx.Timeout(10, read=None)
    ) as client:
        reading = asyncio.create_task(_read_all(client, wanted, news, earliest=earliest))
        try:
            while True:
                message = await news.get()
                if isinstance(message, httpx.HTTPError):
                    raise message
                yield message
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _read_all(client: httpx.AsyncClient, wanted: Selection, news: News, *, earliest: bool) -> None:
    """Reads every series, also those that appear later: all that these have is news."""
    reading: dict[Series, asyncio.Task[None]] = {}
    try:
        while True:
            for series in await _series(client, wanted):
                if series not in reading:
                    one = _read_series(client, wanted.what, series, news, earliest=earliest)
                    reading[series] = asyncio.create_task(one)
            earliest = True
            await asyncio.sleep(LOOK_S)
    except httpx.HTTPError as error:
        news.put_nowait(error)
    finally:
        for task in reading.values():
            task.cancel()
        await asyncio.gather(*reading.values(), return_exceptions=True)


async def _series(client: httpx.AsyncClient, wanted: Selection) -> list[Series]:
    answer = (await client.get("/v1/series")).raise_for_status().json()
    every = [(stream["stream"], key) for stream in answer for key in stream["keys"]]
    return [(stream, key) for stream, key in every if wanted.stream in {None, stream} and wanted.key in {None, key}]


async def _read_series(client: httpx.AsyncClient, what: str, series: Series, news: News, *, earliest: bool) -> None:
    try:
        after = -1 if earliest or what != "blends" else await _newest_blend(client, series)
        old = [] if earliest or what != "alerts" else await _alerts(client)
        asked = {"stream": series[0], "key": series[1], "after": str(after)}
        async with client.stream("GET", "/v1/live", params=asked) as answer:
            answer.raise_for_status()
            await _read_events(answer, what, old, news)
        news.put_nowait(httpx.RemoteProtocolError(ENDED, request=answer.request))
    except httpx.HTTPError as error:
        news.put_nowait(error)


async def _read_events(answer: httpx.Response, what: str, old: Sequence[Alert], news: News) -> None:
    event = ""
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            event = value
        elif name == "data" and event == EVENTS[what]:
            message = TOPICS[what].decode(value.encode())
            if message not in old:
                news.put_nowait(message)


async def _newest_blend(client: httpx.AsyncClient, series: Series) -> int:
    """Its time."""
    t: int = (await client.get(f"/v1/blends/{series[0]}/{series[1]}")).raise_for_status().json()["t"]
    return t


async def _alerts(client: httpx.AsyncClient) -> list[Alert]:
    return msgspec.convert((await client.get("/v1/alerts")).raise_for_status().json(), list[Alert])
