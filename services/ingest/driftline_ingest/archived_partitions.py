"""The partitions that the archive owns, and their checkpoints, which hold what is known of each series. Pure."""

from collections.abc import Iterator, Mapping
from itertools import islice

import msgspec

from driftline.worker.stream_step import Series
from driftline_ingest.census import SeriesCounter
from driftline_ingest.known_ticks import KnownTicks
from driftline_ingest.open_windows import ArchivedPartition, Progress


class ArchivedPartitions:
    """By number. Whatever is known of their series is reported to the census."""

    def __init__(self, census: SeriesCounter) -> None:
        self._census = census
        self._partitions: dict[int, ArchivedPartition] = {}
        self._kept: dict[int, int] = {}

    def of(self, partition: int) -> ArchivedPartition:
        """Nothing is known of one that is new."""
        owned = self._partitions.get(partition)
        if owned is None:
            owned = self._partitions[partition] = ArchivedPartition()
        return owned

    def series(self) -> Iterator[Series]:
        """All that are known."""
        return (series for owned in self._partitions.values() for series in owned.progress)

    def meet(self, partition: int, series: Series, progress: Progress, ticks: KnownTicks) -> None:
        """Its first message has come."""
        owned = self._partitions[partition]
        owned.progress[series], owned.ticks[series] = progress, ticks
        owned.changed.add(series)
        self._census.add(series, partition)

    def forget(self, partition: int, series: Series) -> None:
        """It was silent for too long."""
        self._leave(partition, series)
        self._partitions[partition].changed.add(series)

    def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        """Takes in a part of what was checkpointed; None forgets a series."""
        owned = self.of(partition)
        for name, data in states.items():
            stream, key = name.split("/", 1)
            if data is None:
                self._leave(partition, (stream, key))
            else:
                progress = owned.progress[stream, key] = msgspec.msgpack.decode(data, type=Progress)
                owned.heard[stream].restore(key, progress.heard)
                # Made when it is needed: the stream may not be known yet.
                owned.ticks.pop((stream, key), None)
                # Reading starts at the oldest open window, so other series are read again up to their own progress.
                owned.behind = max(owned.behind, progress.next)
                self._census.add((stream, key), partition)

    def count_from(self, partition: int, position: int) -> None:
        """What is archived is known by time, which a topic that was made anew shares with the old one; all else is
        counted anew."""
        self._partitions[partition].count_from(position)

    def unsaved(self, partition: int) -> int:
        """Series that have changed since they were in a snapshot."""
        return len(self._partitions[partition].changed)

    def snapshot(self, partition: int, limit: int | None = None) -> dict[str, bytes | None]:
        """What changed since the last time, `limit` series at most: the next call gives more."""
        owned = self._partitions[partition]
        changed = list(islice(owned.changed, limit))
        owned.changed.difference_update(changed)
        return {f"{stream}/{key}": _saved(owned.progress.get((stream, key))) for stream, key in changed}

    def resume_at(self, partition: int, consumed: int) -> int:
        """A restart reads again what is not in a window yet."""
        oldest = self._partitions[partition].oldest()
        position = consumed if oldest is None else oldest
        self._kept[partition] = consumed - position
        return position

    def kept(self, partition: int) -> int:
        """Messages that were worked off at the last checkpoint, and that a restart reads again all the same.

        They are those since the first that waits for its window to be full.
        """
        return self._kept.get(partition, 0)

    def release(self, partition: int) -> None:
        """Somebody else owns it now."""
        self._partitions.pop(partition, None)
        self._kept.pop(partition, None)
        self._census.release(partition)

    def _leave(self, partition: int, series: Series) -> None:
        owned = self._partitions[partition]
        owned.progress.pop(series, None)
        owned.ticks.pop(series, None)
        owned.heard[series[0]].forget(series[1])
        self._census.forget(series, partition)


def _saved(progress: Progress | None) -> bytes | None:
    return None if progress is None else msgspec.msgpack.encode(progress)
