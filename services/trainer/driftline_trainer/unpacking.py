"""Unpacks a file that comes from outside, within bounds of memory and processor time; runs in a child of its own."""

import resource
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from driftline.bounds import Bounds
from driftline.definition import StreamDefinition
from driftline.errors import InvalidInput
from driftline.tables import Rows, decode

STATUS = Path("/proc/self/status")
LARGEST = 1e30
"""No sensor measures more; ingest's door takes no larger number either."""


@dataclass(frozen=True)
class Packed:
    """A file as it lies in the store. `key`: the series whose rows it may hold alone; None for any."""

    body: bytes
    stream: StreamDefinition
    source: str
    key: str | None = None


@dataclass(frozen=True)
class Means:
    """What unpacking a file may take. memory: bytes beyond what the child has before it. seconds: of a processor."""

    bounds: Bounds
    memory: int
    seconds: int


def ready() -> None:
    """Says nothing: who hears it knows that this process has begun."""


def begin(memory: int) -> None:
    """Bounds the memory of this process, whatever a file says of itself."""
    # Others keep what was freed, and take more at once than is asked for.
    pa.set_memory_pool(pa.system_memory_pool())
    bound = _taken() + memory
    resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _taken() -> int:
    """Bytes that count for the limit already."""
    if not STATUS.exists():
        return 0
    said = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(said["VmData"].split()[0]) * 1024


def unpack(packed: Packed, means: Means) -> Rows:
    """The rows, all of them such as can be learned from. Raises InvalidInput."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (spent + means.seconds, resource.RLIM_INFINITY))
    try:
        rows = decode(packed.body, packed.stream, packed.source, means.bounds)
        check(rows, packed)
    except MemoryError as error:
        raise InvalidInput(too_much(packed.source, means)) from error
    return rows


def too_much(source: str, means: Means) -> str:
    """What is said of a file that does not keep what its footer promised."""
    expected = f"{means.memory} bytes of memory and {means.seconds} s of a processor"
    return f"{source}: found a file that takes more to be unpacked, expected at most {expected}"


def check(rows: Rows, packed: Packed) -> None:
    """Raises InvalidInput for rows that nobody could learn from."""
    if not len(rows):
        raise InvalidInput(f"{packed.source}: found no rows, expected some")
    wild = np.argwhere(np.abs(rows.values) > LARGEST)
    if len(wild):
        row, column = wild[0]
        where = f"{packed.source}: column {packed.stream.columns[column]!r}"
        found = f"found {rows.values[row, column]} in row {row + 1}"
        raise InvalidInput(f"{where}: {found}, expected numbers between -{LARGEST:g} and {LARGEST:g}")
    strangers = [] if packed.key is None else sorted(set(rows.keys.tolist()) - {packed.key})
    if strangers:
        raise InvalidInput(f"{packed.source}: found key {strangers[0]!r}, expected {packed.key!r} alone")
