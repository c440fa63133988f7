"""What a backup has of an edge on Kafka: the states of its workers. Its records are the broker's to keep."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from driftline.bus.kafka import KafkaBus
from driftline.errors import RefusedBackup, Unavailable
from driftline.fleet import replacing
from driftline.fleet.kept import TOPICS, KeptState, by_group, packed
from driftline.messages import RECORDS
from driftline.names import ARCHIVE_GROUPS, INFERENCE_GROUP
from driftline.service.ports import open_bus
from driftline_edge.settings import EdgeSettings

STATES: Final = "states"
"""The folder in a backup."""
OF_RECORDS: Final = (INFERENCE_GROUP, ARCHIVE_GROUPS["windows"])
"""Who must have worked a record off before nobody needs it any more."""


@dataclass(frozen=True)
class KafkaEdge:
    """An edge as its broker has it. waiting: records that are not forecast or not archived yet."""

    id: str
    states: list[KeptState]
    waiting: int


async def read(settings: EdgeSettings) -> KafkaEdge:
    """Raises NotFound where there is no edge, Unavailable where its services are at work, and BusUnavailable."""
    bus = open_bus(settings)
    try:
        edge = await replacing.id_on(bus)
        await refuse_at_work(bus)
        return KafkaEdge(edge, await replacing.all_states(bus), await _waiting(bus))
    finally:
        await bus.close()


async def refuse_at_work(bus: KafkaBus) -> None:
    """Raises Unavailable where a service of an edge is at work: what it does meanwhile would be lost."""
    if groups := await bus.topics.at_work(TOPICS):
        raise Unavailable(
            f"{bus.settings.brokers}: found services at work ({', '.join(groups)}), expected none: stop them all; one "
            f"that was killed is gone after {bus.settings.session_timeout:.0f} s"
        )


async def _waiting(bus: KafkaBus) -> int:
    await bus.topics.make([RECORDS.name])
    lags = [await bus.lag(RECORDS, group) for group in OF_RECORDS]
    return sum(max(lag.get(partition, 0) for lag in lags) for partition in set().union(*lags))


def state_files(states: list[KeptState]) -> dict[str, bytes]:
    """One a group and partition."""
    parts: dict[str, list[KeptState]] = {}
    for kept in states:
        parts.setdefault(f"{STATES}/{kept.group}-{kept.partition}.msgpack", []).append(kept)
    return {name: packed(part) for name, part in sorted(parts.items())}


def states_in(folder: Path, partitions: int) -> list[KeptState]:
    """Those of an unpacked backup. Raises RefusedBackup for what this release does not know."""
    states: list[KeptState] = []
    for path in sorted((folder / STATES).glob("*.msgpack")):
        try:
            states += msgspec.msgpack.decode(path.read_bytes(), type=list[KeptState])
        except msgspec.DecodeError as error:
            raise RefusedBackup(f"{STATES}/{path.name}: found no states: {error}") from error
    by_group(states, partitions)
    return states
