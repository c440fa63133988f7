"""The series of a partition: when each was heard of, and which are still to be saved. Pure."""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import chain, islice

from driftline.worker.silence import Heard
from driftline.worker.stream_step import Series

Names = dict[Series, str]
"""Series in order, each with its group, "" where it has none."""


@dataclass
class PartitionSeries:
    """What is known of a partition that is owned here."""

    heard: dict[str, Heard] = field(default_factory=lambda: defaultdict(Heard))
    """By stream."""
    changed: Names = field(default_factory=dict)
    """Series whose states are to be saved, but for those of the round."""
    round: Names = field(default_factory=dict)
    """What of the round under way is still to be saved."""
    moved: set[str] = field(default_factory=set)
    """Streams with a series that went to another group and was not saved since."""
    waiting: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """States of streams that are not known here yet, or no more: they wait for their definition."""
    saved: dict[Series, int] = field(default_factory=dict)
    """Offset up to which a restored state was worked off; until the partition is where it was."""
    gone: dict[Series, int] = field(default_factory=dict)
    """Forgotten series whose end was saved, each with the offset of that."""
    times: dict[str, int] | None = None
    """By stream the newest time when the newest round began; None where that was not saved."""
    opening: dict[str, bytes] = field(default_factory=dict)
    """The same as of the restart, to be saved with the first states where it never was."""
    next: int = 0
    """Offset behind the newest message that was worked off."""
    restart: int = 0
    """Offset from which a restart reads while the round is under way."""

    def owns(self, series: Series) -> bool:
        stream, key = series
        return stream in self.heard and key in self.heard[stream]

    def unsaved(self) -> Names:
        """Those of the round first."""
        return self.round | self.changed

    def mark(self, series: Series, group: str) -> None:
        """A series has changed."""
        former = self._group_of(series, group)
        if former != group:
            self.moved.add(series[0])
        self.changed[series] = group

    def _group_of(self, series: Series, unknown: str = "") -> str:
        """When it changed last."""
        return self.changed.get(series, self.round.get(series, unknown))

    def next_cut(self, limit: int | None) -> list[Series]:
        """At most `limit` series that are to be saved, and those that must be saved with them."""
        # The few that are chosen are found without a look at all others.
        later = (series for series in self.changed if series not in self.round)
        chosen = list(islice(chain(self.round, later), limit))
        named = ((series[0], self._group_of(series)) for series in chosen)
        groups = {(stream, group) for stream, group in named if group}
        streams = {stream for stream, _ in chosen} & self.moved
        if groups or streams:
            unsaved = self.unsaved()
            members = [s for s, group in unsaved.items() if (s[0], group) in groups or s[0] in streams]
            chosen = list(dict.fromkeys([*chosen, *members]))
        self.moved -= streams
        return chosen
