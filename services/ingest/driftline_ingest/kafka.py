"""The door for topics that others write to Kafka: records in, and the position moves only when the bus has them.

The position is the consumer group's, at the broker of those topics, so that it may be another cluster than the bus, or
the bus no Kafka at all. What is read twice after a crash is repeated, and all readers of records drop that. What is no
record is a dead letter with its topic, partition and offset.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import stamina

from driftline.bus.foreign_message import ForeignMessage
from driftline.bus.kafka_settings import KafkaSettings
from driftline.bus.port import Bus
from driftline.errors import Unavailable
from driftline.messages import DEAD_LETTERS, DeadLetter
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline.streams.reading.bodies import UNREADABLE, RawRows, decode
from driftline.streams.reading.line_protocol import LineReader
from driftline.streams.reading.nested import spread
from driftline.streams.reading.paths import ABSENT, path_of
from driftline_ingest.door import Door
from driftline_ingest.receipts import RefusedRow

log = logging.getLogger(__name__)

SERVICE = "ingest-kafka"
BATCH = 500
POLL_S = 0.5
LOOK_S = 10.0
"""Seconds between looks for topics that are missing."""
REASON_LENGTH = 500


@dataclass
class _Rows:
    """Rows of one stream, with the message of each, and messages that are none, with the reason."""

    rows: list[object] = field(default_factory=list)
    messages: list[ForeignMessage] = field(default_factory=list)
    dead: list[tuple[ForeignMessage, str]] = field(default_factory=list)

    def letters(self) -> list[tuple[ForeignMessage, str]]:
        """Each message once, whatever number of its rows are none: a letter holds all of it."""
        reasons: dict[tuple[int, int], tuple[ForeignMessage, list[str]]] = {}
        for message, reason in self.dead:
            reasons.setdefault((message.partition, message.offset), (message, []))[1].append(reason)
        return [(message, _summed_up(of_it)) for message, of_it in reasons.values()]


class KafkaDoor:
    """Follows all topics that definitions name, also of streams that are added; see
    `driftline.service.app.BackgroundJob`. topics: where they are, if that is known. edge: gives the id of the edge,
    whose replicas are one consumer group."""

    name = "kafka door"

    def __init__(
        self,
        topics: KafkaSettings | None,
        bus: Bus,
        door: Door,
        streams: Streams,
        edge: Callable[[], Awaitable[str]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics = topics
        self._bus = bus
        self._door = door
        self._edge = edge
        self._monotonic = monotonic
        self._streams: dict[str, list[StreamDefinition]] = defaultdict(list)
        """By topic."""
        self._changed = asyncio.Event()
        self._stopping = False
        self._missing = ""
        """Why nothing is followed now; empty while it is."""
        streams.sources.on_every(self._add)

    def _add(self, stream: StreamDefinition) -> None:
        if stream.kafka is None:
            return
        # A source that has a stream more comes again.
        others = [other for other in self._streams[stream.kafka.topic] if other.name != stream.name]
        self._streams[stream.kafka.topic] = [*others, stream]
        if self._topics is None:
            self._missing = (
                f"stream {stream.name!r} reads the Kafka topic {stream.kafka.topic!r}, and no broker has it: "
                "found no DRIFTLINE_SOURCE_BROKERS, expected one where the bus is no Kafka"
            )
            log.error(self._missing)
        self._changed.set()

    async def check(self) -> None:
        """Raises Unavailable while a topic is not followed."""
        if self._missing:
            raise Unavailable(self._missing)

    async def run(self) -> None:
        while not self._stopping:
            self._changed.clear()
            if self._streams and self._topics is not None:
                await self._follow(self._topics)
            else:
                await self._changed.wait()

    async def stop(self) -> None:
        self._stopping = True
        self._changed.set()

    @stamina.retry(on=Unavailable, attempts=None, timeout=None, wait_max=10.0)
    async def _follow(self, settings: KafkaSettings) -> None:
        """Until there are other topics, or the end."""
        from driftline.bus.kafka.foreign import ForeignTopics  # noqa: PLC0415 - most doors follow no topic

        group = f"driftline-{await self._edge()}"
        try:
            async with ForeignTopics.joined(settings, group, list(self._streams)) as topics:
                self._say(topics.lacking, settings)
                looked = self._monotonic()
                while not self._changed.is_set():
                    await self._take(await topics.poll(BATCH, POLL_S))
                    await topics.commit()
                    if topics.lacking and self._monotonic() - looked > LOOK_S:
                        looked = self._monotonic()
                        if await topics.missing() != topics.lacking:
                            return
        except Unavailable as error:
            if self._stopping:
                return
            self._missing = f"the Kafka topics {', '.join(self._streams)} at {settings.brokers} wait: {error}"
            log.warning(self._missing)
            raise

    def _say(self, lacking: Sequence[str], settings: KafkaSettings) -> None:
        followed = sorted(set(self._streams) - set(lacking))
        self._missing = ""
        log.info("following Kafka", extra={"topics": followed, "brokers": settings.brokers})
        if lacking:
            names = ", ".join(lacking)
            self._missing = f"the Kafka at {settings.brokers} has no topic {names}, or does not show it to this client"
            log.warning(self._missing)

    async def _take(self, messages: Sequence[ForeignMessage]) -> None:
        """Publishes what is new, and dead letters. Raises Unavailable: then all of it comes again."""
        letters: list[DeadLetter] = []
        # A stream may be added while the bus takes records.
        for topic, streams in list(self._streams.items()):
            own = [message for message in messages if message.topic == topic]
            for stream in streams if own else ():
                letters += [_letter(message, reason) for message, reason in await self._records(stream, own)]
        if letters:
            await self._bus.publish(DEAD_LETTERS, letters)

    async def _records(
        self, stream: StreamDefinition, messages: Sequence[ForeignMessage]
    ) -> list[tuple[ForeignMessage, str]]:
        """The messages that are none, with the reason."""
        read = _Rows()
        for message in messages:
            try:
                rows = list(self._rows(stream, message, read))
            except UNREADABLE as error:
                read.dead.append((message, f"expected JSON objects: {error}"))
                continue
            read.rows += rows
            read.messages += [message] * len(rows)
        for _ in read.dead:
            self._door.refused(stream.name)
        receipt, _ = await self._door.take_rows(stream.name, RawRows(read.rows), list_all=True)
        for refused in receipt.refused:
            read.dead.append((read.messages[refused.row - 1], _reason(refused)))
        letters = read.letters()
        for message, reason in letters:
            where = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
            log.warning("dead letter: %s", reason, extra=where)
            self._door.metrics.dead_letters.labels(SERVICE, message.topic).inc()
        return letters

    def _rows(self, stream: StreamDefinition, message: ForeignMessage, read: _Rows) -> Iterator[object]:
        """Raises one of UNREADABLE."""
        if stream.kafka is not None and stream.kafka.payload == "influx":
            raw = LineReader(self._door.reader(stream.name)).rows(message.payload)
            read.dead += [(message, f"found {line.value}, expected {line.expected}") for line in raw.broken]
            self._door.say(stream.name, raw.notes)
            rows: Sequence[object] = raw.rows
        else:
            content = decode(message.payload)
            rows = content if isinstance(content, list) else [content]
        for row in rows:
            if not isinstance(row, dict):
                raise ValueError(f"found {type(row).__name__}")  # noqa: TRY004 - of the bytes
            # The receipt counts the rows that a row holds.
            yield from spread(_completed(stream, row, message), stream.rows)


def _completed(stream: StreamDefinition, row: dict[str, object], message: ForeignMessage) -> dict[str, object]:
    """The row with the message's key and time where it has none of its own."""
    key = path_of(stream, stream.key) if stream.key is not None else None
    if key is not None and message.key is not None and key.value(row) is ABSENT:
        row[key.text] = message.key
    when = path_of(stream, stream.time.column)
    if when is not None and when.value(row) is ABSENT and stream.time.arrival != "refuse":
        row[when.text] = datetime.fromtimestamp(message.timestamp, UTC)
    return row


def _reason(refused: RefusedRow) -> str:
    return f"{refused.column}: found {refused.found}, expected {refused.expected}"


def _summed_up(reasons: Sequence[str]) -> str:
    more = f"; and {len(reasons) - 1} more of its rows" if len(reasons) > 1 else ""
    return f"{reasons[0][: REASON_LENGTH - len(more)]}{more}"


def _letter(message: ForeignMessage, reason: str) -> DeadLetter:
    return DeadLetter(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        service=SERVICE,
        reason=reason[:REASON_LENGTH],
        payload=message.payload,
    )
