"""Which column of a file holds its times, which one names the series, and how far apart the records are. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from driftline.arrays import Ints
from driftline.errors import InvalidInput
from driftline_cli.columns_seen import TIME_NAMES, NumberColumn, Survey, TextColumn, TimeColumn
from driftline_cli.lengths import exactly, percent, roughly

KEY_NAMES = re.compile(r"id$|key|nr$|no$|num|sensor|device|station|node|meter|site|channel|unit", re.IGNORECASE)
"""Of a column of whole numbers that may be a key where no text is: measured values part the records, too."""
REPEATED = 0.01
"""Share of records that may have a time which another of their series has: an hour of autumn, a message sent twice."""
LEAST = 200
"""Records of which a history to learn from and something to score can be made at all."""
MOST_KEYS = 8
"""Columns that are tried in pairs as the two halves of a key."""
NICE_S = tuple(
    [1, 2, 5, 10, 15, 20, 30]
    + [60 * n for n in (1, 2, 3, 5, 6, 10, 12, 15, 20, 30)]
    + [3_600 * n for n in (1, 2, 3, 4, 6, 8, 12, 24, 168)]
)
"""Seconds between records that somebody would set."""
OFF_NICE = 0.1
"""A step that is off by less of it is meant to be a nice one."""
ALL_ALIKE = 0.5
"""From this share of the steps on, the most frequent one is the period as it is, nice or not."""
ON_GRID = 0.5
"""Below this share of steps that are a period, off by less than half of it, the steps contradict each other."""
CLEARLY = 0.3
"""By so much more of the steps must be alike within the series for a column to name them though no time is repeated."""
UNHEARD_S = 600
"""The period that is proposed where no series was heard twice."""
FOREIGN_TIME = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}([ T,]+\d{1,2}:\d\d.*)?")
NAMED = "which only a definition can name (`time.format`)"
EXPECTED = "expected one such as 2014-01-01T01:00:00+01:00"


@dataclass(frozen=True)
class Timeline:
    """The records of a file along their time.

    order: [n] by series, then time. same: [n - 1] in that order, whether a record is of the series before. t: [n] as
    `survey.TimeColumn`, in the file's order. period: seconds. exact, near: shares of the steps that are the period, and
    that are off by less than half of it.
    """

    time: str
    other_times: tuple[str, ...]
    zone: str | None
    format: str | None
    """How the times are written, where a definition must say it."""
    t: Ints
    key: str | None
    series: int
    order: Ints
    same: npt.NDArray[np.bool_]
    period: int
    exact: float
    near: float
    gaps: int
    longest: float
    """The longest step, in seconds."""
    date: str | None = None
    """The column of the day, where the times have the time of day alone."""

    @property
    def contradicted(self) -> bool:
        return self.longest > 0 and self.near < ON_GRID


def timeline(survey: Survey, key: str | None = None, *, brief: bool = False) -> Timeline:
    """key: the column that names the series, where it is known. brief: whether a few records are enough, since nothing
    is learned from them. Raises InvalidInput with what is missing."""
    if survey.rows <= 1 and not brief:
        what = "one record" if survey.rows else "no record"
        raise InvalidInput(f"{survey.source}: found {what}, expected at least {LEAST}: a history")
    time, others = _time(survey)
    if survey.rows < LEAST and not brief:
        raise InvalidInput(f"{survey.source}: found {survey.rows} records, expected at least {LEAST}: a history")
    key = key or survey.key
    names = _named(survey, key, time) if key else _key(survey, time)
    codes = names.codes if isinstance(names, TextColumn) else np.zeros(survey.rows, np.int64)
    order: Ints = np.lexsort((time.t, codes))
    same = np.diff(codes[order]) == 0
    steps = np.diff(time.t[order])[same]
    steps = steps[steps > 0] / 1000
    if not len(steps) and not brief:
        raise InvalidInput(f"{survey.source}: found no two records of a series, expected a history of each")
    period = _period(np.maximum(steps, 1.0) if brief else steps, survey.source) if len(steps) else UNHEARD_S
    return Timeline(
        time=time.name,
        other_times=others,
        zone=time.zone,
        format=time.format,
        t=time.t,
        key=names.name if names else None,
        series=names.distinct if names else 1,
        order=order,
        same=same,
        period=period,
        exact=float(np.mean(np.round(steps) == period)) if len(steps) else 0.0,
        near=float(np.mean(np.abs(steps - period) < period / 2)) if len(steps) else 0.0,
        gaps=int(np.sum(steps >= 1.5 * period)),
        longest=float(steps.max(initial=0.0)),
        date=time.date,
    )


def remarks(line: Timeline) -> Iterator[str]:
    """What was seen, in sentences."""
    if not line.longest:
        yield "no series was heard twice: how far apart its records are is a guess"
        return
    gaps = f"; {line.gaps:,} longer steps, up to {roughly(line.longest)}" if line.gaps else ""
    yield f"{percent(line.exact)} of the records are {exactly(line.period)} apart{gaps}"
    if line.contradicted:
        yield (
            f"the steps contradict each other: only {percent(line.near)} are near the most frequent one, "
            f"{exactly(line.period)}; bring the records onto a grid first if they are reports of changes"
        )
    if line.other_times:
        yield f"further columns of times, not used: {', '.join(line.other_times)}"


def _time(survey: Survey) -> tuple[TimeColumn, tuple[str, ...]]:
    usable = [column for column in survey.times if not column.empty and (np.ptp(column.t) or len(column.t) == 1)]
    if not usable:
        raise InvalidInput(f"{survey.source}: {_why_no_time(survey)}")
    chosen = max(usable, key=lambda column: (not column.is_days, TIME_NAMES.search(column.name) is not None))
    if not chosen.name:
        raise InvalidInput(f"{survey.source}: found times in a column without a name, expected a name in the header")
    return chosen, tuple(column.name for column in usable if column is not chosen)


def _why_no_time(survey: Survey) -> str:
    for time in survey.times:
        if time.empty:
            return f"column {time.name!r}: found {time.empty} empty times, expected a time in every row"
        return f"column {time.name!r}: found one time in all {survey.rows} records, expected a history"
    for column in survey.columns:
        match column:
            case TextColumn(name, not_time=str(text)):
                return f"column {name!r}: found {text!r} among its times, expected a time in every row"
            case TextColumn(name, samples=samples) if samples and all(map(FOREIGN_TIME.fullmatch, samples)):
                return f"column {name!r}: found times such as {samples[0]!r}, {NAMED}; {EXPECTED}"
    return f"found no column of times among {survey.names}; {EXPECTED}"


def _named(survey: Survey, key: str, time: TimeColumn) -> TextColumn:
    columns = [column for column in _names(survey) if column.name == key]
    if columns:
        return columns[0]
    if key not in survey.names or key == time.name:
        raise InvalidInput(f"{survey.source}: found no column {key!r} for the key, expected one of {survey.names}")
    raise InvalidInput(f"{survey.source}: column {key!r}: found fractions or empty keys, expected a name in every row")


def _key(survey: Survey, time: TimeColumn) -> TextColumn | None:
    """The column without which times are repeated, the one with the fewest values; None where none are."""
    alone = _repeated(time.t)
    named = [column for column in _names(survey) if 1 < column.distinct <= survey.rows / 2]
    if alone <= REPEATED:
        return _ordering(named, survey, time)
    texts = {column.name for column in survey.texts}
    numbers = {column.name for column in named if KEY_NAMES.search(column.name)} - texts
    for names in (texts, numbers):
        kind = [column for column in named if column.name in names]
        parting = [column for column in kind if _repeated(time.t, column.codes) <= REPEATED]
        if parting:
            return min(parting, key=lambda column: column.distinct)
    halves = [column for column in named if column.name in texts | numbers]
    raise InvalidInput(f"{survey.source}: {percent(alone)} of the times are repeated; {_why_no_key(halves, time)}")


def _ordering(named: list[TextColumn], survey: Survey, time: TimeColumn) -> TextColumn | None:
    """The text column by which steps are regular that are not without it: of sensors that report in turn."""
    by_text = {column.name for column in survey.texts}
    alone = _regular(time.t, np.zeros(survey.rows, np.int64))
    texts = [column for column in named if column.name in by_text] if alone < ON_GRID else []
    by_column = {column.name: _regular(time.t, column.codes) for column in texts}
    ordering = [column for column in texts if by_column[column.name] > alone + CLEARLY]
    return max(ordering, key=lambda column: by_column[column.name], default=None)


def _regular(t: Ints, codes: Ints) -> float:
    """Share of the steps within the series that are the most frequent one, to the second."""
    order = np.lexsort((t, codes))
    steps = np.diff(t[order])[np.diff(codes[order]) == 0]
    return float(np.unique(np.round(steps / 1000), return_counts=True)[1].max(initial=0) / max(1, len(steps)))


def _why_no_key(named: list[TextColumn], time: TimeColumn) -> str:
    for one, two in combinations(named[:MOST_KEYS], 2):
        if _repeated(time.t, one.codes, two.codes) <= REPEATED:
            return (
                f"only {one.name!r} and {two.name!r} together tell the series apart, expected one column that does: "
                "join them, or keep one value of either in a file"
            )
    return "found no column that tells the series apart, expected one (--key NAME), or a record for a time"


def _names(survey: Survey) -> list[TextColumn]:
    """The columns that may be a key: a name in every row, in text or in whole numbers."""
    texts = [column for column in survey.texts if np.all(column.codes >= 0)]
    return texts + [_as_names(column) for column in survey.numbers if column.whole and np.isfinite(column.values).all()]


def _as_names(column: NumberColumn) -> TextColumn:
    values, codes = np.unique(column.values, return_inverse=True)
    return TextColumn(column.name, codes.astype(np.int64), len(values), ())


def _repeated(*columns: Ints) -> float:
    """Share of the records that have in all columns what another has."""
    order = np.lexsort(columns)
    alike = np.all([np.diff(column[order]) == 0 for column in columns], axis=0)
    return float(np.mean(alike))


def _period(steps: npt.NDArray[np.float64], source: str) -> int:
    """The most frequent step in seconds. Raises InvalidInput when it is less than one."""
    whole, counts = np.unique(np.round(steps).astype(np.int64), return_counts=True)
    most = int(whole[counts.argmax()])
    if most < 1:
        raise InvalidInput(f"{source}: found records less than a second apart, expected a second or more: thin them")
    if counts.max() >= ALL_ALIKE * len(steps):
        return most
    nice = np.array(NICE_S)
    nearest = np.abs(np.log(np.maximum(steps, 1)[:, None] / nice)).argmin(axis=1)
    meant = nearest[np.abs(steps - nice[nearest]) < OFF_NICE * nice[nearest]]
    votes = np.bincount(meant, minlength=len(nice))
    return int(nice[votes.argmax()]) if votes.max() > counts.max() else most
