"""A new device goes on as an edge that is no more: it takes that edge's id, and the states that it left in the store.

The id comes last. So whoever is interrupted begins again, and no device runs as an edge whose states it lacks.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from driftline.bus.edge import edge_id
from driftline.bus.port import Bus
from driftline.bus.seeding import seed
from driftline.errors import InvalidInput, NotFound, RefusedBackup, RefusedNote
from driftline.fleet import names
from driftline.fleet.heartbeat import Heartbeat
from driftline.fleet.kept import INDEX_LIMIT, TOPICS, Bucket, KeptIndex, KeptState, by_group, index_of, unpacked
from driftline.fleet.notes import NOTE_LIMIT, opened
from driftline.fleet.sealing import OVERHEAD, FleetKey, SealedBox, box_of_edge
from driftline.messages import EDGE, EdgeId
from driftline.store.port import Store, read

ALIVE_S: Final = 300.0
"""An edge whose heartbeat is younger still lives."""
TRIES: Final = 3
"""Times that the index is read: the edge may write the next generation meanwhile."""


@dataclass(frozen=True)
class Replacement:
    """What was taken up. at: seconds since the epoch when the states were left, by the clock of who left them."""

    edge: str
    states: int
    at: float
    software: str


async def replace(
    old: str,
    bus: Bus,
    store: Store,
    key: FleetKey,
    *,
    partitions: int,
    force: bool = False,
    clock: Callable[[], float] = time.time,
) -> Replacement:
    """Takes the old edge's id and states onto a bus that nobody works on. force: although the old edge seems to live.
    Once done, it may be called again. Raises InvalidInput, RefusedBackup, NotFound, BusUnavailable, StoreUnavailable
    and Standstill."""
    check_id(old)
    await refuse_used(bus, old)
    if not force:
        await _refuse_living(store, old, clock())
    index, states = await _left(store, old, box_of_edge(key, old))
    if index.partitions != partitions:
        raise RefusedBackup(
            f"found states of {index.partitions} partitions, expected {partitions}: set "
            f"DRIFTLINE_PARTITIONS={index.partitions}, as the old device had it, and use an empty data folder"
        )
    await take_up(bus, old, states, partitions)
    return Replacement(old, len(states), index.at, index.software)


def check_id(edge: str) -> None:
    """Raises InvalidInput for what is no edge's id."""
    try:
        msgspec.convert({"id": edge}, EdgeId)
    except msgspec.ValidationError:
        raise InvalidInput(f"found the id {edge!r}, expected up to 64 small letters and digits") from None


async def refuse_used(bus: Bus, edge: str) -> None:
    """Raises InvalidInput where the bus is another edge's, has data, or is the edge itself already."""
    ids = await bus.read(EDGE)
    if ids and ids[0].value.id == edge:
        raise InvalidInput(f"this device is the edge {edge!r} already: there is nothing to do")
    if ids:
        raise InvalidInput(
            f"found the edge {ids[0].value.id!r} on this device, expected none: use an empty data folder for {edge!r}"
        )


async def take_up(bus: Bus, edge: str, states: Sequence[KeptState], partitions: int) -> None:
    """Puts the states and then the id onto the bus. Raises RefusedBackup before anything is written."""
    for group, parts in by_group(states, partitions).items():
        await seed(bus, TOPICS[group], group, parts, partitions)
    if (known := await edge_id(bus, lambda: edge)) != edge:
        raise InvalidInput(f"found the edge {known!r} on this device, expected {edge!r}: another process has begun")


async def _refuse_living(store: Store, edge: str, now: float) -> None:
    try:
        heartbeat = opened(await read(store, names.heartbeat_key(edge), NOTE_LIMIT), Heartbeat, None)
    except (NotFound, RefusedNote):
        return
    age = now - heartbeat.at
    if age < -ALIVE_S:
        raise InvalidInput(
            f"the edge {edge!r} reported {-age:.0f} s ahead of this device's clock, so it may still live: set the "
            "clock, or use --force once the old device is off"
        )
    if age < ALIVE_S:
        raise InvalidInput(
            f"the edge {edge!r} reported {max(age, 0):.0f} s ago, so it still lives: switch it off and wait for "
            f"{ALIVE_S / 60:.0f} minutes, or use --force"
        )


async def _left(store: Store, edge: str, box: SealedBox) -> tuple[KeptIndex, list[KeptState]]:
    """The newest generation, whole. Raises NotFound, RefusedBackup and StoreUnavailable."""
    for _ in range(TRIES):
        index = await _index(store, edge, box)
        try:
            return index, [kept for bucket in index.buckets if bucket for kept in await _bucket(store, bucket, box)]
        except NotFound as error:
            missing = error
    raise RefusedBackup(f"states of {edge!r}: {missing}, although the index names it") from missing


async def _index(store: Store, edge: str, box: SealedBox) -> KeptIndex:
    key = names.state_index_key(edge)
    try:
        sealed = await read(store, key, INDEX_LIMIT)
    except NotFound:
        raise NotFound(
            f"found no states of the edge {edge!r} ({key}), expected those that it left: is the id right, and had it a "
            "fleet key?"
        ) from None
    index = index_of(box.open(sealed, key), key)
    if index.edge != edge:
        raise RefusedBackup(f"{key}: found states of {index.edge!r}, expected those of {edge!r}")
    return index


async def _bucket(store: Store, bucket: Bucket, box: SealedBox) -> list[KeptState]:
    return unpacked(box.open(await read(store, bucket.key, bucket.size + OVERHEAD), bucket.key), bucket)


async def all_states(bus: Bus, groups: Sequence[str] = tuple(TOPICS)) -> list[KeptState]:
    """All that the checkpoints on a bus have. Raises BusUnavailable."""
    states: dict[tuple[str, int, str], bytes | None] = {}
    for group in groups:
        async for partition, part in bus.states(TOPICS[group], group):
            states |= _named(group, partition, part)
    return [KeptState(*name, state) for name, state in states.items() if state is not None]


def _named(group: str, partition: int, part: Mapping[str, bytes | None]) -> dict[tuple[str, int, str], bytes | None]:
    return {(group, partition, name): state for name, state in part.items()}


async def id_on(bus: Bus) -> str:
    """The id of the edge whose bus it is. Raises NotFound, BusUnavailable."""
    ids = await bus.read(EDGE)
    if not ids:
        raise NotFound("found no edge's id on this bus, expected one: did the edge ever start here?")
    return ids[0].value.id
