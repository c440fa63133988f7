"""What is said of a stream's rows once, not for every row: fields that nothing names, and what had to be guessed."""

import logging
from collections import defaultdict
from collections.abc import Iterable

from driftline.metrics import Metrics
from driftline.streams.reading.rows import Records

log = logging.getLogger(__name__)

LARGEST = 100
"""Sentences that are said of a stream."""
FITS = -1
FIRST = 100
"""If none of so many rows of a stream could be read, its definition does not fit."""


class Notices:
    """Remembers what was said."""

    def __init__(self, metrics: Metrics) -> None:
        self._ignored = metrics.fields_ignored
        self._said: dict[str, set[str]] = defaultdict(set)
        self._unread: dict[str, int] = {}
        """By stream how many of its first rows could not be read; FITS once one could, or it was said."""

    def say(self, stream: str, sentences: Iterable[str]) -> None:
        """Logs each once."""
        said = self._said[stream]
        for sentence in sentences:
            if sentence not in said and len(said) < LARGEST:
                said.add(sentence)
                log.warning("%s", sentence, extra={"stream": stream})

    def hear(self, stream: str, taken: Records) -> None:
        """Counts and tells what rows have beyond the definition, and that none of the first could be read."""
        if not taken.ignored and self._unread.get(stream) == FITS:
            return
        if taken.ignored:
            self._ignored.labels(stream).inc(sum(taken.ignored.values()))
            self.say(
                stream, (f"field {name[:200]!r} is ignored: the definition does not name it" for name in taken.ignored)
            )
        if self._unread.get(stream) == FITS or not (taken.records or taken.refusals):
            return
        if taken.records:
            self._unread[stream] = FITS
            return
        self._unread[stream] = self._unread.get(stream, 0) + len(taken.refusals)
        if self._unread[stream] >= FIRST:
            first = taken.refusals[0]
            log.error(
                "the definition fits none of the first %d rows: %s: found %s, expected %s",
                *(self._unread[stream], first.column, first.value, first.expected),
                extra={"stream": stream},
            )
            self._unread[stream] = FITS
