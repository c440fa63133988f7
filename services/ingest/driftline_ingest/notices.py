"""What is said of a stream's rows once, not for every row: fields that nothing names, and what had to be guessed."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping

from driftline.metrics import Metrics
from driftline.streams.reading.rows import Records, RowReader
from driftline_ingest.first_rows import FirstRows

log = logging.getLogger(__name__)

LARGEST = 100
"""Sentences that are said of a stream."""


class Notices:
    """Remembers what was said."""

    def __init__(self, metrics: Metrics) -> None:
        self._ignored = metrics.fields_ignored
        self._said: dict[str, set[str]] = defaultdict(set)
        self._first: dict[RowReader, FirstRows] = {}

    def say(self, stream: str, sentences: Iterable[str]) -> None:
        """Logs each once."""
        said = self._said[stream]
        for sentence in sentences:
            if sentence not in said and len(said) < LARGEST:
                said.add(sentence)
                log.warning("%s", sentence, extra={"stream": stream})

    def ignore(self, stream: str, fields: Mapping[str, int]) -> None:
        """Counts and tells what the definition does not name: by its name how often it came."""
        self._ignored.labels(stream).inc(sum(fields.values()))
        self.say(stream, (f"field {name[:200]!r} is ignored: the definition does not name it" for name in fields))

    def hear(self, stream: str, reader: RowReader, taken: Records) -> None:
        """Counts and tells what rows have beyond the definition, and what of it none of the first rows has."""
        if taken.ignored:
            self.ignore(stream, taken.ignored)
        first = self._first.get(reader)
        if first is None:
            first = self._first[reader] = FirstRows(reader.field_of)
        if not first.over:
            for sentence in first.add(taken):
                log.error("%s", sentence, extra={"stream": stream})
