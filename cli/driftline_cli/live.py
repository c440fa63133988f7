"""Blends or alerts as the combiner tells them, where the bus lies in the edge's own process."""

import asyncio
from collections.abc import AsyncGenerator, Mapping

import msgspec

from driftline.messages import Alert, Blend
from driftline.worker.stream_step import Series
from driftline_cli import tokens
from driftline_cli.tailing import TOPICS, Selection
from driftline_client import AsyncClient, ClientError, LiveBlend, LiveEvent, RaisedAlert

LOOK_S = 1.0
"""Time between looks for new series."""
FROM_FIRST = -1
KINDS: Mapping[str, type[LiveEvent]] = {"blends": LiveBlend, "alerts": RaisedAlert}
"""By what is followed, the type of its events."""

News = asyncio.Queue[Blend | Alert | ClientError]


async def follow(url: str, wanted: Selection, *, earliest: bool) -> AsyncGenerator[Blend | Alert]:
    """The messages that are wanted, from now on or from the first that the combiner remembers. A combiner that is away
    for a while is waited for. Raises ClientError."""
    news: News = asyncio.Queue()
    await _expect(url)
    async with AsyncClient(combiner=url, token=tokens.reading_token(url)) as client:
        reading = asyncio.create_task(_read_all(client, wanted, news, earliest=earliest))
        try:
            while True:
                message = await news.get()
                if isinstance(message, ClientError):
                    raise message
                yield message
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _expect(url: str) -> None:
    """At the beginning nobody is waited for: its address may be wrong."""
    async with AsyncClient(combiner=url, token=tokens.reading_token(url), patience=0) as client:
        await client.streams()


async def _read_all(client: AsyncClient, wanted: Selection, news: News, *, earliest: bool) -> None:
    """Reads every series, also those that appear later: all that these have is news."""
    reading: dict[Series, asyncio.Task[None]] = {}
    after = FROM_FIRST if earliest else None
    try:
        while True:
            for series in await _series(client, wanted):
                if series not in reading:
                    reading[series] = asyncio.create_task(_read_series(client, wanted.what, series, news, after))
            after = FROM_FIRST
            await asyncio.sleep(LOOK_S)
    except ClientError as error:
        news.put_nowait(error)
    finally:
        for task in reading.values():
            task.cancel()
        await asyncio.gather(*reading.values(), return_exceptions=True)


async def _series(client: AsyncClient, wanted: Selection) -> list[Series]:
    every = [(stream.stream, key) for stream in await client.streams() for key in stream.keys]
    return [(stream, key) for stream, key in every if wanted.stream in {None, stream} and wanted.key in {None, key}]


async def _read_series(client: AsyncClient, what: str, series: Series, news: News, after: int | None) -> None:
    try:
        async for event in client.live(*series, after=after):
            if isinstance(event, KINDS[what]):
                # As on the topic, where messages have the same fields.
                news.put_nowait(TOPICS[what].decode(msgspec.json.encode(event)))
    except ClientError as error:
        news.put_nowait(error)
