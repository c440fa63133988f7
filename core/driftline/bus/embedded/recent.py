"""The messages that were written last, in bounded memory. Pure."""

from collections import defaultdict, deque

from driftline.bus.embedded.contents import PartitionLog
from driftline.bus.port import Raw

OVERHEAD = 250
"""Bytes that a message takes in memory beside its payload, about."""
KEPT = 0.75
"""When there is too much, so much of the bound is kept: dropping is done for many at once."""


class RecentMessages:
    """At most `limit` bytes of messages, the oldest of all partitions go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: dict[int, list[Raw]] = defaultdict(list)
        self._order: deque[tuple[int, int]] = deque()
        """Label id and size of all that is kept, oldest first."""

    def add(self, log: PartitionLog, message: Raw) -> None:
        size = len(message.payload) + OVERHEAD
        self._kept[log.label_id].append(message)
        self._order.append((log.label_id, size))
        self._size += size
        if self._size > self._limit:
            self._drop()

    def _drop(self) -> None:
        dropped: dict[int, int] = {}
        while self._size > KEPT * self._limit and self._order:
            label_id, size = self._order.popleft()
            dropped[label_id] = dropped.get(label_id, 0) + 1
            self._size -= size
        for label_id, count in dropped.items():
            del self._kept[label_id][:count]

    def clear(self) -> None:
        self._kept.clear()
        self._order.clear()
        self._size = 0

    def read(self, log: PartitionLog, start: int, limit: int) -> list[Raw] | None:
        """From offset `start` on at most so many; None where that is not in memory any more."""
        kept = self._kept.get(log.label_id)
        if not kept or kept[0].offset > start:
            return None
        begin = start - kept[0].offset
        return kept[begin : begin + limit]
