"""The sink for InfluxDB and whatever else takes its line protocol: each forecast and each observed value as a point.

What a person can correct is sent again until it is corrected. A line that the server can't read is found and set aside,
if it takes others: otherwise it takes none, and what is wrong is there.
"""

import asyncio
import gzip
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Self

import httpx

from driftline.messages import BLENDS, Blend
from driftline.streams.definition import StreamDefinition
from driftline_combiner.sinks.forecast_rows import forecast_rows, truth_row
from driftline_combiner.sinks.http_client import no_answer, open_client, retry_after
from driftline_combiner.sinks.influx_answers import REMEDIES, SHOWN, InfluxAnswer, meaning
from driftline_combiner.sinks.influx_lines import forecast_line, truth_line
from driftline_combiner.sinks.port import SinkRefused, SinkUnavailable, Unsendable
from driftline_combiner.sinks.secret_files import read_secret
from driftline_combiner.sinks.settings import InfluxSection

log = logging.getLogger(__name__)

BATCH: Final = 100
"""Blends at once: with 36 horizons 3,700 lines, which is about what InfluxDB likes best."""
UNREADABLE_AT_MOST: Final = 20
"""Lines of a batch that are set aside; where there are more, it is not their fault."""
FAST: Final = 1
"""The level of gzip."""


class BlendLine(NamedTuple):
    """blend: its index in the batch."""

    blend: int
    text: str


class InfluxSink:
    """See `driftline_combiner.sinks.port.Sink`."""

    topic = BLENDS
    batch_limit = BATCH

    def __init__(
        self,
        section: InfluxSection,
        streams: Mapping[str, StreamDefinition],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._section = section
        self._streams = streams
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._zips = True
        self._has_expired = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def send(self, batch: Sequence[Blend]) -> Sequence[Unsendable]:
        lines = [BlendLine(index, text) for index, blend in enumerate(batch) for text in self._texts(blend)]
        refused = await self._write(lines) if lines else {}
        if refused and len(refused) == len(lines):
            raise _nothing_taken(refused)
        reasons = {line.blend: reason for line, reason in refused.items()}
        return [Unsendable(index, reason) for index, reason in reasons.items()]

    def _texts(self, blend: Blend) -> Iterator[str]:
        stream, tags = self._streams[blend.stream], self._section.tags
        if (truth := truth_row(blend, stream)) is not None and (line := truth_line(truth, tags)) is not None:
            yield line
        for row in forecast_rows(blend, stream):
            if (line := forecast_line(row, tags)) is not None:
                yield line

    async def _write(self, lines: Sequence[BlendLine]) -> dict[BlendLine, str]:
        """The lines that the server can't read, with its words. Raises SinkUnavailable and SinkRefused."""
        answer = await self._post("\n".join(line.text for line in lines).encode())
        text = f"it answered {answer.status_code}: {answer.text[:SHOWN].strip()}"
        match meaning(answer.status_code, answer.text):
            case InfluxAnswer.TAKEN:
                return {}
            case InfluxAnswer.EXPIRED:
                self._note_expired(text)
                return {}
            case InfluxAnswer.NO_GZIP if self._zips:
                # QuestDB unpacks nothing.
                self._zips = False
                return await self._write(lines)
            case InfluxAnswer.LATER:
                raise SinkUnavailable(text, retry_after(answer, self._clock()))
            case InfluxAnswer.TOO_LARGE | InfluxAnswer.UNREADABLE if len(lines) > 1:
                return await self._halve(lines)
            case InfluxAnswer.UNREADABLE:
                return {lines[0]: text}
            case other:
                raise SinkRefused(text, REMEDIES[other])

    async def _halve(self, lines: Sequence[BlendLine]) -> dict[BlendLine, str]:
        middle = len(lines) // 2
        refused = await self._write(lines[:middle]) | await self._write(lines[middle:])
        if len(refused) > UNREADABLE_AT_MOST:
            raise _nothing_taken(refused)
        return refused

    def _note_expired(self, text: str) -> None:
        """Once: whoever begins with an old stream has thousands of these."""
        if not self._has_expired:
            log.warning("the server keeps no points that are so old, and they are passed over: %s", text)
        self._has_expired = True

    async def _post(self, body: bytes) -> httpx.Response:
        """Raises SinkUnavailable and SinkRefused."""
        headers = self._headers() | ({"Content-Encoding": "gzip"} if self._zips else {})
        content = await asyncio.to_thread(gzip.compress, body, FAST) if self._zips else body
        if self._client is None:
            self._client = await open_client(self._section.ca_file)
        try:
            return await self._client.post(
                self._url, params=self._params(), content=content, headers=headers, auth=self._auth()
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise no_answer(error) from error

    @property
    def _url(self) -> str:
        path = "/write" if self._section.api == "1" else "/api/v2/write"
        return self._section.url.rstrip("/") + path

    def _params(self) -> dict[str, str]:
        bucket, org = self._section.bucket, self._section.org
        if self._section.api == "2":
            return {"bucket": bucket, "precision": "ms"} | ({} if org is None else {"org": org})
        database, _, policy = bucket.partition("/")
        return {"db": database, "precision": "ms"} | ({"rp": policy} if policy else {})

    def _headers(self) -> dict[str, str]:
        token = read_secret(self._section.token_file)
        plain = {"Content-Type": "text/plain; charset=utf-8"}
        return plain if token is None else plain | {"Authorization": f"Token {token}"}

    def _auth(self) -> httpx.Auth:
        name = self._section.username
        return httpx.Auth() if name is None else httpx.BasicAuth(name, read_secret(self._section.password_file) or "")


def _nothing_taken(refused: Mapping[BlendLine, str]) -> SinkRefused:
    return SinkRefused(next(iter(refused.values())), REMEDIES[InfluxAnswer.UNREADABLE])
