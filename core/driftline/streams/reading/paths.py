"""Where in a row a value is: by the name of a field, or by a way through objects and lists such as `a.b[0].c`. Pure.

A name on the way that has a point itself is written as `a["1.7.0"].c`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from driftline.streams.definition import StreamDefinition

ABSENT: Final = object()
"""In the place of a value that a row does not have."""
WAY = re.compile(r'(?:[^.\[\]]+|\["[^"]+"\])(?:\.[^.\[\]]+|\["[^"]+"\]|\[\d+\])*')
STEP = re.compile(r'\["([^"]+)"\]|\[(\d+)\]|([^.\[\]]+)')


def path_of(stream: StreamDefinition, column: str) -> "FieldPath | None":
    """Where the rows of a stream have a column; None where it is a constant."""
    source = stream.sources.get(column)
    if source is not None and source.constant is not None:
        return None
    return FieldPath.of((source.path if source else None) or column)


@dataclass(frozen=True)
class FieldPath:
    """text: as the definition has it. steps: names and indexes on the way; none where it is a field's name alone."""

    text: str
    steps: tuple[str | int, ...] = ()

    @classmethod
    @lru_cache(maxsize=1000)
    def of(cls, text: str) -> "FieldPath":
        """The way that is written so."""
        if WAY.fullmatch(text) is None:
            # No way, such as `Power [kW]`: nothing but a name.
            return cls(text)
        steps = tuple(int(index) if index else quoted or name for quoted, index, name in STEP.findall(text))
        return cls(text, () if steps == (text,) else steps)

    @property
    def field(self) -> str:
        """The row's own field that it begins with."""
        return str(self.steps[0]) if self.steps else self.text

    def value(self, row: Mapping[str, object]) -> object:
        """What a row has, or ABSENT. A field whose whole name is the path goes first: exports flatten objects so."""
        if self.text in row:
            return row[self.text]
        if not self.steps:
            return ABSENT
        value: object = row
        for step in self.steps:
            if isinstance(step, str) and isinstance(value, dict):
                value = value.get(step, ABSENT)
            elif isinstance(step, int) and isinstance(value, list) and step < len(value):
                value = value[step]
            else:
                return ABSENT
        return value
