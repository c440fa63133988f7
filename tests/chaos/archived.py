"""What lies in the store, by content: every full window of acknowledged records, without holes and doubles. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from tests.chaos.scene import Scene

LISTED = 5


@dataclass
class Archived:
    """The rows of one kind of objects (windows or results), however the objects are called."""

    scene: Scene
    kind: str
    files: int = 0
    strange: list[str] = field(default_factory=list)
    times: dict[int, list[int]] = field(default_factory=dict)
    """By series the ticks, as they were found."""

    def add(self, name: str, keys: Iterable[str], t: Iterable[int]) -> None:
        """The rows of one object."""
        self.files += 1
        for key, when in zip(keys, t, strict=True):
            try:
                number, tick = self.scene.place(str(key), int(when))
            except ValueError as error:
                self.strange.append(f"{name}: {error}")
            else:
                self.times.setdefault(number, []).append(tick)

    def lacks(self, acknowledged: np.ndarray) -> int:
        """How many acknowledged records that a full window must hold are in none."""
        return sum(len(part) for part in self._holes(acknowledged).values())

    def _holes(self, acknowledged: np.ndarray) -> dict[int, list[int]]:
        """By series the ticks that are missing: of full windows, or before one that is there."""
        size, found = self.scene.stream.window, {}
        for key, ticks in enumerate(acknowledged.tolist()):
            there = set(self.times.get(key, ()))
            until = max([ticks // size * size, *(tick + 1 for tick in there)])
            if holes := [tick for tick in range(until) if tick not in there]:
                found[key] = holes
        return found

    @property
    def doubles(self) -> int:
        return sum(len(ticks) - len(set(ticks)) for ticks in self.times.values())

    def complaints(self, acknowledged: np.ndarray) -> list[str]:
        """What is wrong, a line each, a few of each sort."""
        holes = self._holes(acknowledged)
        lines = [
            f"{self.kind}: {self.scene.name(key)}: {len(ticks)} rows missing, the first at {self.scene.t(ticks[0])}"
            for key, ticks in list(holes.items())[:LISTED]
        ]
        doubled = {key: len(ticks) - len(set(ticks)) for key, ticks in self.times.items()}
        twice = [(key, count) for key, count in doubled.items() if count]
        lines += [f"{self.kind}: {self.scene.name(key)}: {count} rows twice" for key, count in twice[:LISTED]]
        return lines + [f"{self.kind}: {line}" for line in self.strange[:LISTED]]
