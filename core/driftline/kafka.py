"""The bus on Apache Kafka. The only importer of aiokafka.

Checkpoints are Kafka transactions on the compacted state topic. The transactional id belongs to the input partition, so
whoever takes a partition over fences its former owner, restores what that checkpointed, and reads on from there.
"""

import asyncio
import logging
import ssl
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import stamina
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    ProducerFenced,
    SaslAuthenticationFailed,
    TransactionCoordinatorFenced,
    UnsupportedSaslMechanismError,
)
from aiokafka.helpers import create_ssl_context
from aiokafka.partitioner import DefaultPartitioner

from driftline.bus import Checkpoint, Envelope, Output, Owner, Raw
from driftline.errors import BusUnavailable, Fenced, PoisonMessage
from driftline.messages import DEAD_LETTERS, M, Topic, state_topic

log = logging.getLogger(__name__)

POSITION = b"@"
"""The key of a partition's position on the state topic; series are named stream/key, so it is free."""
BATCH_BYTES = 256 * 1024
FEW = 4
"""Up to so many messages of a partition are sent one by one, so that those of concurrent callers share a batch."""
STOP_S = 3.0
"""A fenced producer's stop can hang."""
RESTORE_S = 60.0
FETCH_BYTES = 512 * 1024
"""Fetched of a partition at once: with the partitions' number this bounds memory, whatever the lag."""
FETCH_WAIT_S = 0.1
GATHERED_BYTES = 256 * 1024
"""A feed that gathers reads when there is so much, or when its time is over."""
STATE_CONFIG = {"cleanup.policy": "compact", "segment.ms": "600000", "min.cleanable.dirty.ratio": "0.1"}
"""What a state topic needs: its newest states are kept for ever, older ones go soon."""
TOPIC_CONFIG = 1
"""Kafka's mark of a setting that was made for the topic alone."""
PLAIN_CONFIG = {"cleanup.policy": "delete"}
"""What any other needs; how long messages stay is the broker's to say."""
KEYS_REMEMBERED = 100_000


@dataclass(frozen=True)
class KafkaSettings:
    """Where the broker is and how it is talked to. Times in seconds."""

    brokers: str
    partitions: int = 4
    replication: int = 1
    session_timeout: float = 6.0
    """Without a sign of life for so long, a worker's partitions go to others."""
    send_timeout: float = 5.0
    """Unacknowledged for so long, a message was not taken."""
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    def client(self) -> dict[str, Any]:
        """Arguments that every aiokafka client takes."""
        found: dict[str, Any] = {"bootstrap_servers": self.brokers, "security_protocol": self.security_protocol}
        if "SSL" in self.security_protocol:
            found["ssl_context"] = create_ssl_context(cafile=self.ca_file)
        if "SASL" in self.security_protocol:
            found |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password,
            }
        return found


@contextmanager
def _answering() -> Iterator[None]:
    """Kafka's errors as ours."""
    try:
        yield
    except (ProducerFenced, InvalidProducerEpoch, TransactionCoordinatorFenced) as error:
        raise Fenced(f"another worker took the partition over: {error!r}") from error
    except (KafkaError, TimeoutError, OSError) as error:
        raise BusUnavailable(f"the broker does not answer: {error!r}") from error


@contextmanager
def _let_in(broker: str, settings: KafkaSettings) -> Iterator[None]:
    """Why a broker and a client don't trust each other, as a sentence; whatever else is wrong passes."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        authorities = settings.ca_file or "the system's list"
        raise BusUnavailable(
            f"the broker {broker} is not trusted: its certificate was not made by an authority of {authorities} "
            f"(DRIFTLINE_KAFKA_CA_FILE): {error.verify_message}"
        ) from error
    except ssl.SSLError as error:
        raise BusUnavailable(f"the broker {broker} does not speak TLS as this client does: {error.reason}") from error
    except (AuthenticationFailedError, SaslAuthenticationFailed, UnsupportedSaslMechanismError) as error:
        raise BusUnavailable(
            f"the broker {broker} refused the user {settings.sasl_username!r} (DRIFTLINE_KAFKA_SASL_USERNAME, "
            f"DRIFTLINE_KAFKA_SASL_PASSWORD): {'; '.join(map(str, error.args))}"
        ) from error
    except (KafkaError, TimeoutError, OSError):
        return


class KafkaBus:
    """See `driftline.bus.Bus`. Clients are made when they are needed first."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._known: dict[str, int] = {}
        self._partitioner = DefaultPartitioner()
        self._partitions: dict[str, int] = {}

    async def publish(self, topic: Topic[M], messages: Sequence[M]) -> None:
        keyed = [(message, topic.key(message)) for message in messages]
        await self.send([Output(self._partition(key), topic, message) for message, key in keyed])

    def _partition(self, key: str) -> int:
        if key not in self._partitions:
            if len(self._partitions) >= KEYS_REMEMBERED:
                self._partitions.clear()
            every = list(range(self.settings.partitions))
            self._partitions[key] = self._partitioner(key.encode(), every, every)
        return self._partitions[key]

    async def send(self, outputs: Sequence[Output]) -> None:
        """Returns when all are acknowledged. A producer that failed is replaced: what it held may be sent twice."""
        await self.ensure_topics({output.topic.name for output in outputs})
        producer = await self._ready_producer()
        try:
            with _answering():
                async with asyncio.timeout(self.settings.send_timeout):
                    await _send_all(producer, outputs)
        except (BusUnavailable, Fenced):
            if self._producer is producer:
                self._producer = None
            await _stop(producer)
            raise

    async def _ready_producer(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self.settings.client(),
                    enable_idempotence=True,
                    max_batch_size=BATCH_BYTES,
                    request_timeout_ms=int(self.settings.send_timeout * 1000),
                    retry_backoff_ms=20,
                )
                await self._start(producer)
                self._producer = producer
            return self._producer

    async def _start(self, client: Any) -> None:
        try:
            with _answering():
                async with asyncio.timeout(self.settings.send_timeout):
                    await client.start()
        except BusUnavailable as error:
            await _stop(client)
            await self._explain(error)
            raise
        except BaseException:  # also a cancellation: half-started clients hold connections
            await _stop(client)
            raise

    async def _explain(self, error: BusUnavailable) -> None:
        """Raises a BusUnavailable with the reason, where the broker lets nobody in: aiokafka's own error has none."""
        if not isinstance(error.__cause__, KafkaConnectionError) or self.settings.security_protocol == "PLAINTEXT":
            return
        arguments = self.settings.client()
        hosts = collect_hosts(arguments.pop("bootstrap_servers"))
        for host, port, _ in hosts:
            with _let_in(f"{host}:{port}", self.settings):
                connection = await create_conn(
                    host, port, request_timeout_ms=int(self.settings.send_timeout * 1000), **arguments
                )
                connection.close()

    async def ensure_topics(self, names: Iterable[str]) -> None:
        """Makes topics that are missing. Raises BusUnavailable, also for a topic of another number of partitions."""
        for name, found in (await self._partitions_of(names)).items():
            if found != self.settings.partitions:
                raise BusUnavailable(f"topic {name}: found {found} partitions, expected {self.settings.partitions}")

    async def make(self, names: Iterable[str]) -> None:
        """Makes the topics that are not there, with the partitions and retention that they need. Raises
        BusUnavailable."""
        await self._partitions_of(names)

    async def partitions(self, names: Iterable[str]) -> dict[str, int]:
        """How many partitions those of the topics have that are there. Raises BusUnavailable."""
        async with self._admin() as admin:
            with _answering():
                there = sorted(set(await admin.list_topics()) & set(names))
                described = await _described(admin, there) if there else []
        return {topic["topic"]: len(topic["partitions"]) for topic in described}

    async def configs(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """How topics that are there are kept: of each all settings. Raises BusUnavailable."""
        async with self._admin() as admin:
            with _answering():
                wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
                answers = await admin.describe_configs(wanted) if wanted else []
        # (error, message, type, name, [(setting, value, …), …])
        resources = [resource for answer in answers for resource in answer.resources]
        return {name: {entry[0]: entry[1] for entry in entries} for _, _, _, name, entries in resources}

    async def configure(self, name: str, settings: Mapping[str, str]) -> None:
        """Sets how a topic is kept, and leaves its other settings as they are. Raises BusUnavailable."""
        async with self._admin() as admin:
            with _answering():
                described = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
                ((_, _, _, _, entries),) = described[0].resources
                # Kafka's call replaces all that was ever set on the topic.
                own = {entry[0]: entry[1] for entry in entries if entry[3] == TOPIC_CONFIG}
                await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, own | dict(settings))])

    async def _partitions_of(self, names: Iterable[str]) -> dict[str, int]:
        """How many partitions topics have; those that are missing are made."""
        wanted = set(names)
        missing = sorted(wanted - self._known.keys())
        if missing:
            async with self._admin() as admin:
                with _answering():
                    made = [
                        NewTopic(
                            name, self.settings.partitions, self.settings.replication, topic_configs=topic_config(name)
                        )
                        for name in missing
                    ]
                    await admin.create_topics(made)
                    described = await _described(admin, missing)
            self._known |= {topic["topic"]: len(topic["partitions"]) for topic in described}
        return {name: self._known[name] for name in wanted}

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        admin = AIOKafkaAdminClient(**self.settings.client(), request_timeout_ms=int(self.settings.send_timeout * 1000))
        try:
            try:
                with _answering():
                    async with asyncio.timeout(self.settings.send_timeout):
                        await admin.start()
            except BusUnavailable as error:
                await self._explain(error)
                raise
            yield admin
        finally:
            with suppress(KafkaError, TimeoutError, OSError):
                async with asyncio.timeout(STOP_S):
                    await admin.close()

    @asynccontextmanager
    async def join(
        self, topic: Topic[Any], group: str, owner: Owner, *, gather: float = 0.0
    ) -> AsyncIterator["_KafkaFeed"]:
        await self.ensure_topics([topic.name, state_topic(group), DEAD_LETTERS.name])
        feed = _KafkaFeed(self, topic.name, group, owner, gather)
        feed.consumer.subscribe([topic.name], listener=feed)
        try:
            await self._start(feed.consumer)
            yield feed
        finally:
            await feed.stop()

    async def tail(self, topic: Topic[M], *, earliest: bool = False) -> AsyncGenerator[Sequence[Envelope[M]]]:
        # Whoever made the topic may have chosen another number of partitions.
        partitions = (await self._partitions_of([topic.name]))[topic.name]
        consumer = self._reader()
        await self._start(consumer)
        try:
            every = [TopicPartition(topic.name, p) for p in range(partitions)]
            consumer.assign(every)
            with _answering():
                await (consumer.seek_to_beginning(*every) if earliest else consumer.seek_to_end(*every))
                yield []
                while True:
                    found = await consumer.getmany(timeout_ms=1000)
                    page = [_decoded(topic, _raw(message)) for messages in found.values() for message in messages]
                    if page:
                        yield [envelope for envelope in page if envelope is not None]
        finally:
            await _stop(consumer)

    def _reader(self) -> AIOKafkaConsumer:
        """A consumer outside any group."""
        return AIOKafkaConsumer(
            **self.settings.client(),
            group_id=None,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=int(FETCH_WAIT_S * 1000),
            max_partition_fetch_bytes=FETCH_BYTES,
        )

    async def lag(self, topic: Topic[Any], group: str) -> Mapping[int, int]:
        consumer = self._reader()
        await self._start(consumer)
        try:
            every = [TopicPartition(topic.name, p) for p in range(self.settings.partitions)]
            async with self._admin() as admin:
                with _answering():
                    committed = await admin.list_consumer_group_offsets(group)
                    ends = await consumer.end_offsets(every)
            return {tp.partition: end - max(0, _offset(committed.get(tp))) for tp, end in ends.items()}
        finally:
            await _stop(consumer)

    async def check(self) -> None:
        producer = await self._ready_producer()
        with _answering():
            async with asyncio.timeout(self.settings.send_timeout):
                await producer.client.fetch_all_metadata()

    async def close(self) -> None:
        if self._producer is not None:
            await _stop(self._producer)
            self._producer = None

    async def take_over(self, group: str, partition: int) -> tuple[AIOKafkaProducer, int | None, dict[str, bytes]]:
        """Fences the partition's former owner; gives the producer of its checkpoints, its position and its states."""
        producer = AIOKafkaProducer(
            **self.settings.client(),
            transactional_id=f"driftline-{group}-{partition}",
            transaction_timeout_ms=10_000,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=int(self.settings.send_timeout * 1000),
            retry_backoff_ms=20,
        )
        await self._start(producer)
        try:
            position, states = await self._restore(group, partition)
        except BaseException:
            await _stop(producer)
            raise
        return producer, position, states

    async def _restore(self, group: str, partition: int) -> tuple[int | None, dict[str, bytes]]:
        """Reads a partition of the state topic to its end."""
        place = TopicPartition(state_topic(group), partition)
        position: int | None = None
        states: dict[str, bytes] = {}
        consumer = self._reader()
        await self._start(consumer)
        try:
            with _answering():
                async with asyncio.timeout(RESTORE_S):
                    consumer.assign([place])
                    end = (await consumer.end_offsets([place]))[place]
                    await consumer.seek_to_beginning(place)
                    while await consumer.position(place) < end:
                        for messages in (await consumer.getmany(timeout_ms=200)).values():
                            for message in messages:
                                if message.key == POSITION:
                                    position = int(message.value)
                                else:
                                    states[message.key.decode()] = message.value
        finally:
            await _stop(consumer)
        return position, states


class _KafkaFeed(ConsumerRebalanceListener):  # type: ignore[misc]
    """See `driftline.bus.Feed`."""

    def __init__(self, bus: KafkaBus, topic: str, group: str, owner: Owner, gather: float) -> None:
        self.producers: dict[int, AIOKafkaProducer] = {}
        self.consumer = AIOKafkaConsumer(
            **bus.settings.client(),
            group_id=group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(bus.settings.session_timeout * 1000),
            heartbeat_interval_ms=int(bus.settings.session_timeout * 1000 / 4),
            fetch_max_wait_ms=int(max(FETCH_WAIT_S, gather) * 1000),
            fetch_min_bytes=GATHERED_BYTES if gather else 1,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        self._bus = bus
        self._topic = topic
        self._group = group
        self._owner = owner
        self._failure: Exception | None = None
        self._committed: dict[TopicPartition, int] = {}
        self._showing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._showing.set_result(None)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Aiokafka logs and forgets what a listener raises, so it is kept for the next poll."""
        try:
            await asyncio.gather(*(self._assigned(place) for place in assigned))
        except (Fenced, BusUnavailable) as error:
            self._failure = error

    async def _assigned(self, place: TopicPartition) -> None:
        producer, position, states = await self._bus.take_over(self._group, place.partition)
        self.producers[place.partition] = producer
        with _answering():
            first = (await self.consumer.beginning_offsets([place]))[place]
        if position is not None and position < first:
            log.warning(
                "records were dropped by retention before they were read",
                extra={"topic": self._topic, "partition": place.partition, "position": position, "first": first},
            )
        begin = max(first, position or 0)
        await self._owner.assigned(place.partition, begin, states)
        self.consumer.seek(place, begin)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        for place in revoked:
            await self._owner.revoked(place.partition)
            await asyncio.wait([self._showing])
            producer = self.producers.pop(place.partition, None)
            if producer is not None:
                await _stop(producer)

    async def poll(self, limit: int, timeout: float) -> Sequence[Raw]:
        if self._failure is not None:
            raise self._failure
        with _answering():
            found = await self.consumer.getmany(timeout_ms=int(timeout * 1000), max_records=limit)
        return [_raw(message) for messages in found.values() for message in messages]

    async def send(self, outputs: Sequence[Output]) -> None:
        await self._bus.send(outputs)

    async def commit(self, checkpoint: Checkpoint) -> None:
        producer = self.producers.get(checkpoint.partition)
        if producer is None:
            raise Fenced(f"partition {checkpoint.partition} of {self._topic} is not ours")
        state = state_topic(self._group)
        await self._bus.ensure_topics({output.topic.name for output in checkpoint.outputs})
        with _answering():
            async with asyncio.timeout(self._bus.settings.send_timeout), producer.transaction():
                # Every send is awaited before the commit: a commit that overtakes one costs 100 ms.
                await _send_all(producer, checkpoint.outputs)
                written = [(name.encode(), value) for name, value in checkpoint.states.items()]
                written.append((POSITION, str(checkpoint.position).encode()))
                sent = [
                    await producer.send(state, value, key=key, partition=checkpoint.partition) for key, value in written
                ]
                await asyncio.gather(*sent)
        self._committed[TopicPartition(self._topic, checkpoint.partition)] = checkpoint.position
        if self._showing.done():
            self._showing = asyncio.create_task(self._show())

    async def _show(self) -> None:
        """Commits positions to the group too: only so that any tool can show the lag. Nothing reads on from them."""
        while self._committed:
            shown, self._committed = self._committed, {}
            with suppress(KafkaError):
                await self.consumer.commit(shown)

    async def stop(self) -> None:
        # A consumer that is stopped while it commits leaves a connection open.
        await asyncio.wait([self._showing])
        await _stop(self.consumer)
        await asyncio.gather(*(_stop(producer) for producer in self.producers.values()))


@stamina.retry(on=LeaderNotAvailableError, timeout=10.0, attempts=None, wait_initial=0.02, wait_max=0.5)
async def _described(admin: AIOKafkaAdminClient, names: Sequence[str]) -> list[dict[str, Any]]:
    """What a broker knows of topics; one that was made a moment ago has no leaders yet."""
    found: list[dict[str, Any]] = await admin.describe_topics(names)
    if any(part["error_code"] for topic in found for part in (topic, *topic["partitions"])):
        raise LeaderNotAvailableError(f"topics {', '.join(names)}")
    return found


async def _send_all(producer: AIOKafkaProducer, outputs: Sequence[Output]) -> None:
    """Sends in order per partition, many messages a batch, and awaits every acknowledgement."""
    groups: dict[tuple[str, int], list[Output]] = defaultdict(list)
    for output in outputs:
        groups[output.topic.name, output.partition].append(output)
    sent = await asyncio.gather(*(_send_group(producer, *place, group) for place, group in groups.items()))
    await asyncio.gather(*(future for futures in sent for future in futures))


async def _send_group(producer: AIOKafkaProducer, topic: str, partition: int, group: Sequence[Output]) -> list[Any]:
    encoded = [(o.topic.key(o.message).encode(), o.topic.encode(o.message)) for o in group]
    if len(encoded) <= FEW:
        return [await producer.send(topic, value, key=key, partition=partition) for key, value in encoded]
    futures = []
    batch = producer.create_batch()
    for key, value in encoded:
        if batch.append(timestamp=None, key=key, value=value) is None:
            futures.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value)
    batch.close()
    futures.append(await producer.send_batch(batch, topic, partition=partition))
    return futures


async def _stop(client: Any) -> None:
    """Stops a client, whatever state it is in."""
    with suppress(KafkaError, TimeoutError, OSError):
        async with asyncio.timeout(STOP_S):
            await client.stop()


def topic_config(name: str) -> dict[str, str]:
    """How the topic `name` must be kept."""
    return STATE_CONFIG if name.endswith(".state.v1") else PLAIN_CONFIG


def _offset(found: Any) -> int:
    return found.offset if found is not None else 0


def _raw(message: Any) -> Raw:
    return Raw(message.partition, message.offset, message.timestamp / 1000, message.value or b"")


def _decoded(topic: Topic[M], raw: Raw) -> Envelope[M] | None:
    try:
        return Envelope(raw.partition, raw.offset, raw.timestamp, topic.decode(raw.payload))
    except PoisonMessage:
        return None
