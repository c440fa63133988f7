"""How often models were run over the Open Inference Protocol, and how long that took. Pure."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

SUCCESS, FAIL, QUEUE = "success", "fail", "queue"
READ, RUN, WRITE = "compute_input", "compute_infer", "compute_output"
"""The request is read, the model is run, the answer is written."""


@dataclass
class Durations:
    """Of how many, and how long they took in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.ns += ns


@dataclass
class ModelStatistics:
    """Of one version of a model. clock: nanoseconds of any beginning; now: milliseconds since the epoch."""

    version: str
    clock: Callable[[], int]
    now: Callable[[], int]
    rows: int = 0
    last: int = 0
    durations: dict[str, Durations] = field(
        default_factory=lambda: {name: Durations() for name in (SUCCESS, FAIL, QUEUE, READ, RUN, WRITE)}
    )

    @contextmanager
    def request(self) -> Iterator[None]:
        """Counts a request, which fails with what leaves the block. Nothing waits in a queue."""
        begin, outcome = self.clock(), FAIL
        try:
            yield
            outcome = SUCCESS
            self.durations[QUEUE].add(0)
        finally:
            self.durations[outcome].add(self.clock() - begin)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts a part of a request that comes to its end."""
        begin = self.clock()
        yield
        self.durations[name].add(self.clock() - begin)

    def ran(self, rows: int) -> None:
        """The model was run over so many rows at once."""
        self.rows += rows
        self.last = self.now()

    def answer(self, name: str) -> dict[str, Any]:
        """As the extension for statistics has it. name: of the model."""
        inference = {part: {"count": of.count, "ns": of.ns} for part, of in self.durations.items()}
        return {
            "name": name,
            "version": self.version,
            "last_inference": self.last,
            "inference_count": self.rows,
            "execution_count": self.durations[RUN].count,
            "inference_stats": inference,
            "batch_stats": [],
        }


class StatisticsByModel:
    """Of the version of each model that serves; of a version before nothing is kept."""

    def __init__(self, clock: Callable[[], int], now: Callable[[], int]) -> None:
        self._clock = clock
        self._now = now
        self._by_name: dict[str, ModelStatistics] = {}

    def of(self, name: str, version: str) -> ModelStatistics:
        known = self._by_name.get(name)
        if known is None or known.version != version:
            known = self._by_name[name] = ModelStatistics(version, self._clock, self._now)
        return known
