"""What an edge says of itself each minute, and at once when a model was swapped, rolled back, or an alert came. Pure.

A new field with a default is compatible in both directions; a field never changes its meaning.
"""

import msgspec

from driftline.messages import Gap, StreamHealth

__all__ = ["AlertNote", "Comparison", "Gap", "Heartbeat", "ModelHealth", "StreamHealth", "model_name"]

NEWEST_ALERTS = 20
"""Alerts in a heartbeat."""
NEWEST_COMPARISONS = 5
"""Comparisons of versions in a heartbeat, of each model."""
MOST_PARTS = 2_000
"""Entries of a list or a mapping in a heartbeat: with more, nobody believes it."""
NEWEST_REFUSED = 5
"""Refused versions in a heartbeat, of each model."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A version against the one before it, on one edge: see `driftline_inference.shadow`."""

    new: str
    old: str
    truths: int = 0
    """Truths that both met."""
    log_worse: float = 0.0
    """Logarithm of the evidence that the new one is worse: the wealth of who bet on it."""
    log_not_worse: float = 0.0
    """Logarithm of the evidence that it is not."""
    over: bool = False
    """Whether there is nothing more to compare."""


class ModelHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model of one stream on an edge."""

    version: str | None = None
    """The one that serves."""
    since: float | None = None
    """Seconds since the epoch when it began to serve."""
    why: str = ""
    """Why it was swapped in."""
    former: str | None = None
    pinned: bool = False
    named: str | None = None
    """The version that this edge should run, as the store's pointer says."""
    refused: dict[str, str] = {}
    """By version why it may not serve here; the newest NEWEST_REFUSED."""
    rolled_back: dict[str, str] = {}
    """By version why this edge went back from it; the newest NEWEST_REFUSED."""
    comparisons: list[Comparison] = []
    """The newest last."""


class AlertNote(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as it was raised; see `driftline.messages.Alert`."""

    stream: str
    key: str
    t: int
    kind: str
    subject: str
    detail: str


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that an edge says of itself."""

    edge: str
    """Its id."""
    name: str
    """What people call it."""
    labels: dict[str, str] = {}
    boot: str
    """Another one at each start of whoever writes heartbeats: two that take turns are two devices under one id."""
    number: int
    """Counts the heartbeats of a boot from 1 on."""
    started: float
    """Seconds since the epoch, by the edge's clock, when this boot began."""
    at: float
    """... and when this was written."""
    every: float
    """Seconds after which the next one is due."""
    software: str
    """Version of Driftline."""
    clock_offset: float | None = None
    """Seconds by which its clock is ahead of the store's; None where the store does not say its time."""
    disk_free: int | None = None
    """Bytes."""
    disk_total: int | None = None
    memory: int | None = None
    """Resident bytes of the process that writes this."""
    lag: int | None = None
    """Records that it has taken in and not forecast yet."""
    waits_for: dict[str, str] = {}
    """What it lacks, by name of the check that fails."""
    streams: dict[str, StreamHealth] = {}
    models: dict[str, ModelHealth] = {}
    """By `<stream>.<member>`."""
    alerts: list[AlertNote] = []
    """The newest NEWEST_ALERTS, the newest last."""
    gaps: list[Gap] = []
    waiting: int = 0
    """Windows that wait for the store."""
    left_out: int = 0
    """Streams and models that did not fit into this note."""
    definitions: str = ""
    """Names the stream definitions that it has from the cloud, see `driftline.fleet.definitions`; empty without any."""
    rivals: list[str] = []
    """Boots of others that were seen to write under this id: the card was copied."""


def model_name(stream: str, member: str) -> str:
    """Of a model in a heartbeat."""
    return f"{stream}.{member}"
