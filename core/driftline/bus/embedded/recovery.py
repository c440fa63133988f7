"""What the segments of a folder hold after a stop of any kind, a power cut included. Blocks.

Only one write is under way at a time, so that only the last frame can be torn: it was not acknowledged, and is cut.
Whole frames behind bytes that are none are damage.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from driftline.bus.embedded.contents import Contents, SegmentIndex
from driftline.bus.embedded.frames import Frame, Kind, frame_at, frames, newer_frame_behind
from driftline.bus.embedded.segment import SPARE_SUFFIX, Segment
from driftline.errors import UnusableData


@dataclass
class Recovered:
    """`segments`: those that follow on one another, the oldest first. `unused`: files that hold nothing of use."""

    contents: Contents = field(default_factory=Contents)
    segments: list[Segment] = field(default_factory=list)
    unused: list[Segment] = field(default_factory=list)


@dataclass(frozen=True)
class _Read:
    """A segment with its index, or with its frames."""

    segment: Segment
    index: SegmentIndex | None
    frames: Sequence[Frame]


def recover(folder: Path) -> Recovered:
    """Raises OSError, and UnusableData for damage."""
    recovered = _recover([Segment.open(path) for path in sorted(folder.glob("*.log"))])
    recovered.unused += map(Segment.open, folder.glob(f"*{SPARE_SUFFIX}"))
    return recovered


def _recover(segments: Sequence[Segment]) -> Recovered:
    recovered = Recovered()
    chain: list[_Read] = []
    for segment in segments:
        read = _read(segment, chain[-1].segment if chain else None)
        if read is None:
            recovered.unused.append(segment)
        else:
            chain.append(read)
    if chain:
        _apply(recovered.contents, [*chain[:-1], _scan(chain[-1])])
    recovered.segments = [read.segment for read in chain]
    return recovered


def _read(segment: Segment, former: Segment | None) -> _Read | None:
    """None for a file that has no frame of ours: a dropped one that was about to be used again, or a new one."""
    expected = former.last_frame + 1 if former else None
    index = segment.index()
    if index is not None and expected in (None, segment.first_frame):
        return _Read(segment, index, ())
    read = _read_whole(segment, expected)
    if not read.frames:
        behind = frame_at(segment.read_all(), 0)
        if former and behind and behind.number > former.last_frame:
            raise damaged(former.path, former.used)
    _refuse_damage(segment, read, expected or 1)
    return read if read.frames else None


def _read_whole(segment: Segment, number: int | None) -> _Read:
    segment.used = 0
    whole = list(frames(segment.read_all(), number))
    segment.count_in_all(whole)
    return _Read(segment, None, whole)


def _scan(last: _Read) -> _Read:
    """The last one is read whole: messages may have been added after its index."""
    if last.index is None:
        return last
    read = _read_whole(last.segment, last.segment.first_frame)
    _refuse_damage(last.segment, read, last.segment.first_frame)
    return read


def _refuse_damage(segment: Segment, read: _Read, number: int) -> None:
    """Behind what was read there must be no frame that comes later. number: of the first where nothing was read."""
    number = segment.last_frame + 1 if read.frames else number
    if newer_frame_behind(segment.read_all(), segment.used, number) is not None:
        raise damaged(segment.path, segment.used)


def damaged(path: Path, position: int) -> UnusableData:
    return UnusableData(
        f"{path}: found damaged or missing frames behind byte {position}: the disk may be failing. Copy the folder, "
        "then move this file and all with lower numbers out of it: what they hold is lost, what is behind them is kept"
    )


def _apply(contents: Contents, chain: Sequence[_Read]) -> None:
    last = chain[-1]
    # The last knows the labels of all: its summary is newer than any other.
    for frame in last.frames:
        contents.apply(last.segment.number, frame.age, ((p, e) for p, e in frame.entries() if e.kind is Kind.NAME))
    for read in chain:
        if read.index is not None:
            contents.apply_index(read.segment.number, read.index)
        for frame in read.frames:
            contents.apply(read.segment.number, frame.age, frame.entries())
