"""Whether a worker said that it is ready while nothing moved: what each sample adds to what was seen before. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

BOUND_S = 40.0
"""So long a worker may be green while a partition of its input grows and nothing comes out: the session timeout (6 s),
a rebalance, a transaction that runs out (10 s), a restore, all on a busy machine."""


@dataclass(frozen=True)
class Ends:
    """By partition where a group's input and its output end."""

    input: Mapping[int, int]
    output: Mapping[int, int]


@dataclass
class _Partition:
    input: int
    output: int
    still_since: float
    lags: bool = False


@dataclass
class Watch:
    """One group of workers. `complaints`: each standstill under a green page, once."""

    group: str
    bound: float = BOUND_S
    complaints: list[str] = field(default_factory=list)
    longest: float = 0.0
    """The longest that a worker was green while a partition with lag stood still, in seconds."""
    _partitions: dict[int, _Partition] = field(default_factory=dict)
    _green_since: dict[str, float] = field(default_factory=dict)
    _told: set[tuple[int, float]] = field(default_factory=set)

    def sample(self, now: float, ends: Ends | None, green: Mapping[str, bool]) -> None:
        """ends: None while the broker does not say. green: by worker whether it answered that it is ready."""
        for name, is_green in green.items():
            if is_green:
                self._green_since.setdefault(name, now)
            else:
                self._green_since.pop(name, None)
        if ends is None:
            self._partitions.clear()
            return
        for number, output in ends.output.items():
            self._look(now, number, ends.input.get(number, 0), output)

    def _look(self, now: float, number: int, into: int, out: int) -> None:
        seen = self._partitions.get(number)
        if seen is None or out > seen.output:
            self._partitions[number] = _Partition(into, out, now)
            return
        if into > seen.input and not seen.lags:
            # It stands still from when there was something to do, not from when it had done all.
            seen.lags, seen.still_since = True, now
        if seen.lags:
            self._judge(now, number, seen)

    def _judge(self, now: float, number: int, seen: _Partition) -> None:
        for name, since in self._green_since.items():
            lasted = now - max(since, seen.still_since)
            self.longest = max(self.longest, lasted)
            if lasted > self.bound and (number, seen.still_since) not in self._told:
                self._told.add((number, seen.still_since))
                self.complaints.append(
                    f"{name} was ready for {lasted:.0f} s while partition {number} of {self.group} stood still at "
                    f"output {seen.output} and its input grew"
                )
