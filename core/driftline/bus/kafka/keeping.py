"""How Kafka keeps our topics: how long, how large, in what. Pure.

A partition of a topic is a row of segments, and Kafka drops or compacts none but whole ones that it no longer writes
to. A bound in bytes therefore holds only with segments that are small against it.
"""

from driftline.messages import BLENDS, EDGE, FORECASTS, RECORDS, REPORTS
from driftline.names import GROUPS

SOON = {"file.delete.delay.ms": "1000"}
"""What is dropped lies on the disk for a minute more otherwise."""
BY_ARRIVAL = {"message.timestamp.type": "LogAppendTime"}
"""Ages are counted from the arrival: by the time of a client whose clock is wrong a segment would be kept for ever, or
dropped at once."""
STATE = {"cleanup.policy": "compact", "segment.ms": "600000", "min.cleanable.dirty.ratio": "0.1"} | BY_ARRIVAL | SOON
"""What a state topic needs: its newest states are kept for ever, older ones go soon."""
PLAIN = {"cleanup.policy": "delete"} | BY_ARRIVAL | SOON
"""What any other needs; how long messages stay is the broker's to say, how many bytes of them ours."""
FOR_EVER = {**PLAIN, "retention.ms": "-1", "retention.bytes": "-1"}
"""What the topic of the edge's id needs: it is one message."""

SHORT_LIVED = {"retention.ms": "3600000", "segment.ms": "600000"}
"""... and what the topic of reports needs in addition: an hour old they are of no use."""

FLOWING = frozenset({RECORDS.name, FORECASTS.name, BLENDS.name})
"""Topics through which every record goes."""
SHARE_FLOWING, SHARE_PLAIN, SHARE_STATES = 0.2, 0.05, 0.2
"""Of the disk: for each flowing topic; for each other one, such as the alerts; for all states."""
SEGMENTS = 8
"""In a partition's share. Kafka keeps one more than the bound, and looks for what is too much now and then."""
SEGMENT_BYTES = (1 << 20, 64 << 20)
"""The least that Kafka allows, and the most that is of use."""
LEAST_SHARE = 4 * SEGMENT_BYTES[0]


def least_disk(partitions: int) -> int:
    """The fewest bytes that all topics can be kept in."""
    return round(partitions * LEAST_SHARE / SHARE_PLAIN)


def topic_config(name: str, disk: int, partitions: int) -> dict[str, str]:
    """How the topic `name` must be kept, so that all of them together stay within `disk` bytes on a broker.

    disk: at least `least_disk(partitions)`. States are as many as there are series, and no bound drops one: their
    segments alone are bounded, so that what is out of date goes soon.
    """
    if name == EDGE.name:
        return FOR_EVER
    if name.endswith(".state.v1"):
        share = disk * SHARE_STATES / len(GROUPS) / partitions
        return {**STATE, "segment.bytes": str(_segment(share))}
    if name == REPORTS.name:
        least = SEGMENT_BYTES[0]
        return {**PLAIN, **SHORT_LIVED, "segment.bytes": str(least), "retention.bytes": str(2 * least)}
    share = disk * (SHARE_FLOWING if name in FLOWING else SHARE_PLAIN) / partitions
    segment = _segment(share)
    return {**PLAIN, "segment.bytes": str(segment), "retention.bytes": str(int(share) - 2 * segment)}


def _segment(share: float) -> int:
    least, most = SEGMENT_BYTES
    return min(max(int(share / SEGMENTS), least), most)
