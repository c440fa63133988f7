"""A step whose state is a running hash: any lost, doubled or reordered message shows in every later output."""

import uuid
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.bus.memory import MemoryBus
from driftline.bus.port import Assignment, Bus, Envelope, Output
from driftline.messages import Topic
from tests.security.kafka_server import PASSWORD, USER, SecureKafka

PARTITIONS = 4
PATIENCE_S = 30.0
"""For a broker on a busy machine."""
"""As many as all services have by default: all tests of a run may share one broker, and the topic of dead letters."""


class Tick(msgspec.Struct, frozen=True):
    key: str
    t: int
    received: float = 0.0


class Folded(msgspec.Struct, frozen=True):
    key: str
    t: int
    hash: int


def ticks(name: str) -> Topic[Tick]:
    return Topic(name, Tick, lambda tick: tick.key)


def folds(name: str) -> Topic[Folded]:
    return Topic(name, Folded, lambda fold: fold.key)


class HashStep:
    """Folds each key's times into a hash; drops what it has seen."""

    def __init__(self, out: Topic[Folded]) -> None:
        self.out = out
        self.states: dict[str, tuple[int, int]] = {}
        self.owned: dict[int, set[str]] = {}
        self.changed: dict[int, set[str]] = {}
        self.round: dict[int, set[str]] = {}

    def step(self, batch: Sequence[Envelope[Tick]]) -> list[Output]:
        outputs = []
        for envelope in batch:
            tick = envelope.value
            last, former = self.states.get(tick.key, (-1, 0))
            if tick.t <= last:
                continue
            folded = zlib.crc32(f"{former}:{tick.t}".encode())
            self.states[tick.key] = (tick.t, folded)
            self.owned.setdefault(envelope.partition, set()).add(tick.key)
            self.changed.setdefault(envelope.partition, set()).add(tick.key)
            outputs.append(Output(envelope.partition, self.out, Folded(tick.key, tick.t, folded)))
        return outputs

    def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        for key, data in states.items():
            self.states[key] = msgspec.json.decode(data, type=tuple[int, int])
        self.owned.setdefault(partition, set()).update(states)

    def begin(self, assignment: Assignment) -> bool:
        return False

    def begin_again(self, partition: int, position: int) -> None:
        """What it has seen it knows by time."""

    def replay(self, batch: Sequence[Envelope[Tick]]) -> None:
        self.step(batch)

    def begin_round(self, partition: int, restart: int) -> dict[str, bytes]:
        self.round.setdefault(partition, set()).update(self.changed.pop(partition, set()))
        return {}

    def left(self, partition: int) -> int:
        return len(self.round.get(partition, ()))

    def snapshot(self, partition: int, limit: int | None = None) -> dict[str, bytes | None]:
        left = self.round.get(partition, set())
        given = [left.pop() for _ in range(min(limit or len(left), len(left)))]
        self.changed.get(partition, set()).difference_update(given)
        return {key: msgspec.json.encode(self.states[key]) for key in given}

    def unsaved(self, partition: int) -> int:
        return self.left(partition) + len(self.changed.get(partition, ()))

    def resume_at(self, partition: int, consumed: int) -> int:
        return consumed

    def release(self, partition: int) -> bool:
        self.changed.pop(partition, None)
        self.round.pop(partition, None)
        for key in self.owned.pop(partition, set()):
            self.states.pop(key, None)
        return False


def expected(sent: Sequence[Tick]) -> dict[tuple[str, int], int]:
    """What an undisturbed fold gives."""
    hashes: dict[str, int] = {}
    found = {}
    for tick in sent:
        hashes[tick.key] = zlib.crc32(f"{hashes.get(tick.key, 0)}:{tick.t}".encode())
        found[tick.key, tick.t] = hashes[tick.key]
    return found


class World:
    """Fresh topics and a fresh group on one bus; `another` is a second client of the same topics."""

    def __init__(self, bus: Bus, another: Bus) -> None:
        name = uuid.uuid4().hex[:8]
        self.bus = bus
        self.another = another
        self.group = f"fold-{name}"
        self.ticks = ticks(f"ticks-{name}")
        self.folds = folds(f"folds-{name}")

    @property
    def kafka(self) -> KafkaBus:
        assert isinstance(self.bus, KafkaBus)
        return self.bus

    async def drop(self, partition: int, before: int) -> None:
        """What retention does with the ticks of a partition before an offset."""
        if isinstance(self.bus, MemoryBus):
            self.bus.logs(self.ticks.name)[partition].drop_before(before)
            return
        if isinstance(self.bus, EmbeddedBus):
            self.bus.log(self.ticks.name, partition).drop_before(before)
            return
        admin = AIOKafkaAdminClient(**self.kafka.settings.client())
        await admin.start()
        await admin.delete_records({TopicPartition(self.ticks.name, partition): RecordsToDelete(before)})
        await admin.close()


def kafka_settings(request: pytest.FixtureRequest) -> KafkaSettings:
    if request.param == "kafka":
        return KafkaSettings(request.getfixturevalue("brokers"), partitions=PARTITIONS, send_timeout=PATIENCE_S)
    secure: SecureKafka = request.getfixturevalue("secure_kafka")
    return KafkaSettings(
        secure.brokers,
        partitions=PARTITIONS,
        send_timeout=PATIENCE_S,
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username=USER,
        sasl_password=PASSWORD,
        ca_file=str(secure.ca_file),
    )


@pytest.fixture(
    params=[
        "memory",
        "embedded",
        *(pytest.param(name, marks=pytest.mark.kafka) for name in ("kafka", "kafka by SASL_SSL")),
    ]
)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "memory":
        memory = MemoryBus(PARTITIONS)
        yield World(memory, memory)
        return
    if request.param == "embedded":
        embedded = EmbeddedBus(EmbeddedSettings(tmp_path / "bus", PARTITIONS))
        yield World(embedded, embedded)
        await embedded.close()
        return
    settings = kafka_settings(request)
    bus, another = KafkaBus(settings), KafkaBus(settings)
    yield World(bus, another)
    await bus.close()
    await another.close()


class CopyStep:
    """Puts out what comes; it has no state."""

    def __init__(self, out: Topic[Folded]) -> None:
        self._out = out

    def step(self, batch: Sequence[Envelope[Folded]]) -> list[Output]:
        return [Output(envelope.partition, self._out, envelope.value) for envelope in batch]

    def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        """There is no state beside the position."""

    def begin(self, assignment: Assignment) -> bool:
        return False

    def begin_again(self, partition: int, position: int) -> None:
        """There is no state beside the position."""

    def replay(self, batch: Sequence[Envelope[Folded]]) -> None:
        """There is no state beside the position."""

    def begin_round(self, partition: int, restart: int) -> dict[str, bytes]:
        return {}

    def left(self, partition: int) -> int:
        return 0

    def snapshot(self, partition: int, limit: int | None = None) -> dict[str, bytes | None]:
        return {}

    def unsaved(self, partition: int) -> int:
        return 0

    def resume_at(self, partition: int, consumed: int) -> int:
        return consumed

    def release(self, partition: int) -> bool:
        return False
