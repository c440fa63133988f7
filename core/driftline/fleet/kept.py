"""What an edge leaves of its learned state in the store: buckets of states, and an index that names them. Pure.

Which bucket a state is in follows from its name alone, so a bucket changes only when a state in it does. A bucket is
written again under a new name, and the index comes last: it names the buckets of one generation.
"""

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from driftline.errors import RefusedBackup
from driftline.messages import BLENDS, FORECASTS, OBSERVATIONS, RECORDS, Topic
from driftline.names import ARCHIVE_GROUPS, COMBINER_GROUP, GRID_GROUP, INFERENCE_GROUP

TOPICS: Final[Mapping[str, Topic[Any]]] = {
    # What reads first comes last: a state is never older than one of those that read what it puts out.
    COMBINER_GROUP: FORECASTS,
    INFERENCE_GROUP: RECORDS,
    ARCHIVE_GROUPS["results"]: BLENDS,
    ARCHIVE_GROUPS["windows"]: RECORDS,
    GRID_GROUP: OBSERVATIONS,
}
"""The groups whose states are kept, in their order, each with what it reads. The one that asks for models has none."""
BUCKET_BYTES: Final = 2 << 20
"""What a bucket holds, about."""
MOST_BUCKETS: Final = 256
SLACK: Final = 4
"""States may shrink to this part before they go into fewer buckets: all are written again then."""
INDEX_LIMIT: Final = 1 << 20
"""Bytes of an index at most."""


class KeptState(msgspec.Struct, frozen=True, array_like=True):
    """The state of a series as it lies in a checkpoint, opaque, with the partition that it belongs to."""

    group: str
    partition: int
    name: str
    state: bytes


class Bucket(msgspec.Struct, frozen=True):
    """Some states, together in one object. sha256: of its content before it was sealed, in hex; size: its bytes."""

    key: str
    sha256: str
    size: int
    states: int


class KeptIndex(msgspec.Struct, frozen=True):
    """All that belongs together. buckets: by number; None for an empty one."""

    edge: str
    generation: int
    at: float
    """Seconds since the epoch when it was left."""
    software: str
    partitions: int
    buckets: list[Bucket | None]

    @property
    def size(self) -> int:
        """Bytes of all states, about."""
        return sum(bucket.size for bucket in self.buckets if bucket is not None)

    @property
    def keys(self) -> set[str]:
        return {bucket.key for bucket in self.buckets if bucket is not None}


def bucket_count(size: int, before: int) -> int:
    """Of so many bytes; as many as before, unless that is far from right: another number rewrites all of them."""
    wanted = 1
    while wanted < MOST_BUCKETS and wanted * BUCKET_BYTES < size:
        wanted *= 2
    return before if wanted <= before <= wanted * SLACK else wanted


def bucket_of(group: str, partition: int, name: str, count: int) -> int:
    """The number of the bucket that a state is in."""
    return zlib.crc32(f"{group}/{partition}/{name}".encode()) % count


def packed(states: Iterable[KeptState]) -> bytes:
    """The content of a bucket: the same for the same states, in whatever order they come."""
    return msgspec.msgpack.encode(sorted(states, key=lambda kept: (kept.group, kept.partition, kept.name)))


def unpacked(content: bytes, bucket: Bucket) -> list[KeptState]:
    """Raises RefusedBackup."""
    if digest(content) != bucket.sha256:
        raise RefusedBackup(f"{bucket.key}: found other states than the index names")
    try:
        return msgspec.msgpack.decode(content, type=list[KeptState])
    except msgspec.DecodeError as error:
        raise RefusedBackup(f"{bucket.key}: found no states: {error}") from error


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def index_of(content: bytes, key: str) -> KeptIndex:
    """Raises RefusedBackup."""
    try:
        return msgspec.msgpack.decode(content, type=KeptIndex)
    except msgspec.DecodeError as error:
        raise RefusedBackup(f"{key}: found no index of states: {error}") from error


ByPartition = Mapping[int, Mapping[str, bytes]]


def by_group(states: Sequence[KeptState], partitions: int) -> dict[str, ByPartition]:
    """Of each group the states of its partitions. Raises RefusedBackup for what this release does not know."""
    sorted_out: dict[str, dict[int, dict[str, bytes]]] = defaultdict(lambda: defaultdict(dict))
    for kept in states:
        if kept.group not in TOPICS:
            raise RefusedBackup(f"found states of {kept.group!r}, which this release does not know: use a later one")
        if not 0 <= kept.partition < partitions:
            raise RefusedBackup(f"found a state of partition {kept.partition}, expected one below {partitions}")
        sorted_out[kept.group][kept.partition][kept.name] = kept.state
    return {group: dict(parts) for group, parts in sorted_out.items()}
