"""What condition the columns of every series are in: how far each has shifted of late, and runs without news.

Pure NumPy over many series at once. The combiner's drift detectors look at the shifts; a run that is several times as
long as any before is for a person to look at: a sensor that is stuck, a column that is missing, a gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt

from driftline.arrays import TINY, Floats, Ints, Over, clipped
from driftline.messages import Alert, Record
from driftline.streams.grid import NONE
from driftline_kernels import address, kernel, table

MEMORIES = np.array([0.15, 0.002])
"""Memories of the two averages whose distance is a shift: about the last 7 records, and the last 500."""
USUAL_MEMORY = 0.001
FAR = 5.0
"""A shift of so many usual ones is a complete example."""
RARE = 1e-4
"""How seldom a shift may exceed the column's extreme."""
RARE_RATE = 0.01
LEARNED = 3.0
"""What is usual is learned from shifts up to so many usual ones."""
HUGE = 1e150
"""Where squares would overflow."""
BEYOND = 1.3
"""A whole shift is so many times the column's extreme: what a column does now and then is no drift."""
QUIET = 0.2
"""Smaller shifts are none, and are not sent."""
WARM_UP = 300
"""Records until what is usual is known."""
LEAP = 2.0
"""A jump is so many times the extreme step. It raises an alert if half of it is left after STAYS records."""
STAYS = 3
LONGER = 3
"""A run raises an alert when it is so many times as long as the longest before."""
SHORTEST = 24
"""Records of a run, or periods of a gap, that an alert needs at least."""
ASSESS = kernel("health_assess", "pnnpppp")


@dataclass(frozen=True)
class SensorHealth:
    """One row ("slot") a series."""

    count: Annotated[Ints, Over("columns")]
    """[slots, columns]: records seen since the column is there."""
    t: Annotated[Ints, Over()]
    """[slots]: time of the newest, milliseconds since the epoch."""
    gap: Annotated[Ints, Over()]
    """[slots]: the longest time between two records so far, milliseconds."""
    value: Annotated[Floats, Over("columns")]
    """[slots, columns]: the newest value, NaN where it was missing."""
    averages: Annotated[Floats, Over("columns", 2)]
    """[slots, columns, 2]: fast and slow."""
    usual: Annotated[Floats, Over("columns")]
    """[slots, columns]: moving mean square of their distance."""
    extreme: Annotated[Floats, Over("columns")]
    """[slots, columns]: what the distance exceeds once in 1 / RARE records."""
    leap: Annotated[Floats, Over("columns")]
    """[slots, columns]: the step that is exceeded once in 1 / RARE records."""
    jump: Annotated[Floats, Over("columns")]
    """[slots, columns]: a jump that may turn out to stay, signed; 0 for none."""
    base: Annotated[Floats, Over("columns")]
    """[slots, columns]: the value before it."""
    held: Annotated[Ints, Over("columns")]
    """[slots, columns]: records since."""
    run: Annotated[Ints, Over("columns")]
    """[slots, columns]: for how many records the column has had the same value, or none."""
    longest: Annotated[Ints, Over("columns")]
    """[slots, columns]: the longest such run so far."""

    @classmethod
    def empty(cls, slots: int, columns: int, period: int) -> Self:
        """period: milliseconds between two records."""
        return cls(
            count=np.zeros((slots, columns), dtype=np.int64),
            t=np.zeros(slots, dtype=np.int64),
            # LONGER times this is SHORTEST: a new series reports no shorter gap, nor (below) a shorter run.
            gap=np.full(slots, SHORTEST * period // LONGER, dtype=np.int64),
            value=np.full((slots, columns), np.nan),
            averages=np.full((slots, columns, 2), np.nan),
            usual=np.zeros((slots, columns)),
            extreme=np.zeros((slots, columns)),
            leap=np.zeros((slots, columns)),
            jump=np.zeros((slots, columns)),
            base=np.zeros((slots, columns)),
            held=np.zeros((slots, columns), dtype=np.int64),
            run=np.zeros((slots, columns), dtype=np.int64),
            longest=np.full((slots, columns), SHORTEST // LONGER, dtype=np.int64),
        )


@dataclass(frozen=True)
class Condition:
    """The condition of the columns after n records.

    shift: [n, columns] in [0, 1], below QUIET 0. moved: [n, columns] how far the fast average is from the slow one, in
    the column's units. jumped: [n, columns] by how much it has jumped for good, otherwise 0. since: [n] milliseconds
    since the record before of the series, 0 at the first. gap: [n] the same where a gap is worth an alert, otherwise 0.
    run: [n, columns] records where a run is, otherwise 0. missing: [n, columns] whether it is one without values.
    """

    shift: Floats
    moved: Floats
    jumped: Floats
    since: Ints
    gap: Ints
    run: Ints
    missing: npt.NDArray[np.bool_]

    @classmethod
    def unwritten(cls, n: int, columns: int) -> Self:
        """For a kernel to write into."""
        shift, moved, jumped = (np.empty((n, columns)) for _ in range(3))
        since, gap = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
        run = np.empty((n, columns), dtype=np.int64)
        return cls(shift, moved, jumped, since, gap, run, np.empty((n, columns), dtype=np.bool_))

    @property
    def alerting(self) -> Ints:
        """Which of the n records have a jump, a gap or a run that is worth an alert."""
        if not (self.gap.any() or self.run.any() or self.jumped.any()):
            return NONE
        return np.flatnonzero((self.gap > 0) | (self.run > 0).any(axis=1) | (self.jumped != 0).any(axis=1))


def assess(health: SensorHealth, slots: Ints, t: Ints, values: Floats) -> Condition:
    """Takes in one record of each of n different series. t: [n] milliseconds since the epoch. values: [n, columns], NaN
    where missing. Changes `health` in place."""
    if ASSESS is not None:
        return _assess_in_sequence(health, slots, t, values)
    # All four compare with the former time, value and count, so these are written last.
    shift, moved = _shift(health, slots, values)
    jumped = _jump(health, slots, values)
    since = _since(health, slots, t)
    gap = _gap(health, slots, since)
    run = _run(health, slots, values)
    health.t[slots] = t
    health.value[slots] = values
    health.count[slots] += 1
    return Condition(shift, moved, jumped, since, gap, run, np.isnan(values))


def _assess_in_sequence(health: SensorHealth, slots: Ints, t: Ints, values: Floats) -> Condition:
    """In C, one record after the other: a series may have several."""
    assert ASSESS is not None  # noqa: S101
    slots, t = np.ascontiguousarray(slots, dtype=np.int64), np.ascontiguousarray(t, dtype=np.int64)
    values = np.ascontiguousarray(values, dtype=np.float64)
    condition = Condition.unwritten(*values.shape)
    ASSESS(table(health), values.shape[1], len(slots), address(slots), address(t), address(values), table(condition))
    return condition


def _shift(health: SensorHealth, slots: Ints, values: Floats) -> tuple[Floats, Floats]:
    """The distance between the averages compared with what is usual for the column, and the distance itself."""
    count = health.count[slots]
    young = count < WARM_UP
    known = np.isfinite(values)
    before = health.averages[slots]
    started = np.where(np.isnan(before), values[..., None], before)
    # A young series follows its first records quickly, then settles into its slow memory.
    memories = np.maximum(MEMORIES, 1.0 / (count[:, :, None] + 1.0))
    averages = np.where(known[..., None], started + memories * (values[..., None] - started), before)
    health.averages[slots] = averages
    moved = averages[..., 0] - averages[..., 1]
    distance = np.minimum(np.abs(moved), HUGE)
    # From before this record: a shift is not judged by itself.
    usual, extreme = health.usual[slots], health.extreme[slots]
    whole = np.maximum(np.maximum(FAR * np.sqrt(usual), BEYOND * extreme), TINY)
    shift = np.minimum(distance / whole, 1.0)
    memory = np.maximum(USUAL_MEMORY, 1.0 / (count + 1.0))
    square = np.where(young, distance**2, np.minimum(distance**2, LEARNED**2 * usual))
    health.usual[slots] = np.where(known, usual + memory * (square - usual), usual)
    # A quantile by small steps: up by RARE_RATE at each excess, otherwise down by RARE times that. Both balance
    # where one record in 1 / RARE exceeds it.
    followed = extreme * np.exp(RARE_RATE * ((distance > extreme) - RARE))
    health.extreme[slots] = np.where(known, np.where(young, np.maximum(extreme, distance), followed), extreme)
    return np.where(known & ~young & (shift >= QUIET), shift, 0.0), moved


def _jump(health: SensorHealth, slots: Ints, values: Floats) -> Floats:
    """A step far beyond any other that is not taken back: a glitch is no jump."""
    young = health.count[slots] < WARM_UP
    step = clipped(values - health.value[slots], -HUGE, HUGE)
    size, leap = np.abs(step), health.leap[slots]
    jump, base, held = health.jump[slots], health.base[slots], health.held[slots] + 1
    # A candidate (jump != 0) is dropped when half of it is taken back, or reported when it has held for STAYS
    # records; only then may the next one begin. A missing value decides nothing.
    gone = np.isfinite(values) & (np.sign(jump) * (values - base) < 0.5 * np.abs(jump))
    stays = (jump != 0) & ~gone & (held >= STAYS)
    # The way back from a glitch is no jump either.
    begins = ((jump == 0) | stays) & ~young & (size > LEAP * leap) & (leap > 0)
    health.jump[slots] = np.where(begins, step, np.where(gone | stays, 0.0, jump))
    health.base[slots] = np.where(begins, health.value[slots], base)
    health.held[slots] = np.where(begins, 0, held)
    followed = np.where(young, np.maximum(leap, size), leap * np.exp(RARE_RATE * ((size > leap) - RARE)))
    # What has raised an alert once is no news the next time.
    learned = np.where(stays, np.maximum(followed, np.abs(jump)), followed)
    health.leap[slots] = np.where(np.isfinite(step), learned, leap)
    return np.where(stays, jump, 0.0)


def _since(health: SensorHealth, slots: Ints, t: Ints) -> Ints:
    """[n] milliseconds since the record before, 0 where there is none."""
    # The first column is the target, which is there from the first record on.
    since: Ints = np.where(health.count[slots, 0] > 0, t - health.t[slots], 0)
    return since


def _gap(health: SensorHealth, slots: Ints, gap: Ints) -> Ints:
    longest = health.gap[slots]
    # An outage of the same length is news only once.
    health.gap[slots] = np.maximum(longest, gap)
    return np.where(gap >= LONGER * longest, gap, 0)


def _run(health: SensorHealth, slots: Ints, values: Floats) -> Ints:
    """A run counts once, when it reaches the length; only when it is over, what is longest is known."""
    before = health.value[slots]
    # NaN equals nothing, so a run of missing values needs its own test.
    same = (values == before) | (np.isnan(values) & np.isnan(before))
    run, longest = health.run[slots], health.longest[slots]
    # On a change the run that has just ended counts; `health.run` still holds its length.
    health.longest[slots] = np.where(same, longest, np.maximum(longest, run))
    health.run[slots] = now = np.where(same, run + 1, 1)
    return np.where(now == LONGER * longest, now, 0)


def _hours(gap_ms: float) -> str:
    """In days, hours, minutes and seconds, such as `16 days, 0:10:00`."""
    return str(timedelta(seconds=round(gap_ms / 1000)))


def health_alerts(
    names: Sequence[str], levels: Sequence[int], record: Record, condition: Condition, row: int
) -> list[Alert]:
    """The alerts of the jumps, the gap and the runs of the condition's `row`th record. levels: which
    columns are no angles; those jump for no reason."""

    def alert(kind: str, subject: str, detail: str) -> Alert:
        return Alert(record.stream, record.key, record.t, kind, subject, detail)

    jumped = condition.jumped[row]
    alerts = [
        alert("drift", names[column], f"{names[column]} has jumped by {jumped[column]:.4g} and stays there")
        for column in levels
        if jumped[column]
    ]
    if condition.gap[row]:
        alerts.append(alert("gap", "time", f"no record for {_hours(condition.gap[row])} before this one"))
    for column in np.flatnonzero(condition.run[row]).tolist():
        name, run = names[column], condition.run[row, column]
        if condition.missing[row, column]:
            alerts.append(alert("missing", name, f"{name} has been missing for {run} records"))
        else:
            alerts.append(alert("stuck", name, f"{name} has been {record.values[name]:g} for {run} records"))
    return alerts
