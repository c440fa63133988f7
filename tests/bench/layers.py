"""What bytes are written for: by topic, states and positions, and what a journal adds to that."""

from collections import Counter
from pathlib import Path

import msgspec

from driftline.bus.embedded.contents import Label
from driftline.bus.embedded.frames import FRAME_BYTES, Entry, Kind, frames
from driftline.bus.embedded.segment import Segment
from driftline.store.port import Store

TOPICS = {
    "driftline.records": "records",
    "driftline.forecasts": "forecasts",
    "driftline.blends": "blends",
    "driftline.alerts": "alerts",
    "__": "Kafka's own",
}
STATES = "states and positions"
FRAMING = "the journal's frames"
ARCHIVE = ("windows/", "results/")


def layer(topic: str) -> str:
    """What a topic's bytes are counted as."""
    if ".state." in topic:
        return STATES
    return next((name for prefix, name in TOPICS.items() if topic.startswith(prefix)), topic)


def in_segments(data: Path) -> Counter[str]:
    """Bytes in a broker's segments by layer; nothing is compacted or dropped within minutes."""
    sizes: Counter[str] = Counter()
    for segment in data.glob("*/*.log"):
        sizes[layer(segment.parent.name.rpartition("-")[0])] += segment.stat().st_size
    return sizes


def in_journal(folder: Path, begin: float, end: float) -> Counter[str]:
    """Bytes by layer that an embedded bus has written between two times, in seconds since the epoch."""
    sizes: Counter[str] = Counter()
    labels: dict[int, Label] = {}
    for path in sorted(folder.glob("*.log")):
        segment = Segment.open(path)
        try:
            data = segment.read_all()
        finally:
            segment.close()
        for frame in frames(data, None):
            entries = [entry for _, entry in frame.entries()]
            labels |= {e.label_id: msgspec.json.decode(e.payload, type=Label) for e in entries if e.kind is Kind.NAME}
            if entries and begin <= entries[0].time < end:
                sizes[FRAMING] += FRAME_BYTES
                for entry in entries:
                    sizes[_layer_of(entry, labels)] += entry.size()
    return sizes


def _layer_of(entry: Entry, labels: dict[int, Label]) -> str:
    return layer(labels[entry.label_id].topic) if entry.kind is Kind.MESSAGE else STATES


async def in_archive(store: Store) -> int:
    """Bytes of all windows and results."""
    return sum([listed.size for prefix in ARCHIVE async for listed in store.list(prefix)])
