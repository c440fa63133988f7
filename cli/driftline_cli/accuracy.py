"""How accurate every member is, on every stream, horizon and drift, and how accurate others would have been.

Trains on the rows before a split and streams those from then on: all of them undrifted, the first part of them with
each drift. Scores per key; reports means over the keys. `driftline_cli.accuracy_page` writes docs/accuracy.md from it.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from driftline.arrays import Floats, Ints, Mask
from driftline.errors import InvalidInput
from driftline.members import PERSISTENCE
from driftline.scoring import PUBLISHED, ROWS, rmse, skill
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows, concatenate
from driftline_cli import drifts, references, simbench
from driftline_cli.backtest import Run, backtest
from driftline_cli.drift_kinds import KINDS, Kind
from driftline_cli.evaluate import Outcome, common, outcome
from driftline_cli.fan_out import ON, fan_out
from driftline_cli.progress import Progress
from driftline_cli.references import BOOSTING, Reference
from driftline_cli.rivals import References, Rival, compared

HORIZONS = (1, 6, 36)
STRETCH = 500
"""Records over which the least coverage is taken; a key's first stretch does not count."""
BACK_AFTER = 200
LEVEL = 250
"""After a step: records until the error is looked at again, and records over which it is taken."""
LOAD_PROFILES = "load profiles"
"""The section of the page that all of them share."""
NEIGHBOURS = "neighbours"
"""The same of the streams whose series see each other."""
Fit = Callable[[StreamDefinition, Rows], Reference]
"""Makes a reference that is trained, from a history."""


@dataclass(frozen=True)
class Line:
    """One horizon of one run: means over the keys."""

    horizon: int
    rmse: Mapping[str, float]
    """By member, strategy, and `blend`."""
    skill: float
    """The blend's."""
    coverage: float
    """Of the 90 % interval; `least`: in any STRETCH records of a key."""
    least: float
    back: float | None
    """After a step: the blend's error LEVEL records long, BACK_AFTER records later, divided by that before, with
    persistence's own ups and downs divided out."""
    rivals: Mapping[str, Rival]
    """Those that need no Driftline, and what weights could have reached in hindsight."""

    @property
    def best(self) -> str:
        """The best single member or strategy, in hindsight."""
        return min((name for name in self.rmse if name != PUBLISHED), key=lambda name: self.rmse[name])

    @property
    def versus_best(self) -> float:
        return self.rmse[PUBLISHED] / self.rmse[self.best]


@dataclass(frozen=True)
class Summary:
    """One run of one stream with one drift. alerts: drift alerts in 10,000 records."""

    stream: str
    drift: str
    records: int
    retrains: int
    alerts: float
    seconds: float
    lines: list[Line]


@dataclass(frozen=True)
class Subject:
    """A stream that is measured, with its horizons. section: the page's, one for several streams if they share it."""

    stream: StreamDefinition
    train: Rows
    test: Rows
    kinds: Sequence[Kind]
    section: str


@dataclass(frozen=True)
class AccuracyPlan:
    """What is run. part: how many records with each drift."""

    subjects: Sequence[Subject]
    part: int


def run(plan: AccuracyPlan, fit: Fit, progress: Progress, *, workers: int = 1) -> list[list[Summary]]:
    """All runs: per subject one summary for each drift. fit: of the boosting model; workers: how many subjects are run
    at once, each in a process of its own; see `driftline_cli.fan_out`."""
    if workers == 1 and ON not in os.environ:
        return [_runs(subject, plan.part, fit, progress) for subject in plan.subjects]
    given = [(subject, plan.part, fit, _unseen) for subject in plan.subjects]
    return fan_out(_runs, given, workers=workers, done=lambda done, total: progress("streams", done, total))


def _unseen(_what: str, _done: int, _total: int) -> None:
    """The progress of a process of its own."""


def _runs(subject: Subject, part: int, fit: Fit, progress: Progress) -> list[Summary]:
    stream = subject.stream
    progress(f"{stream.name}: {BOOSTING}", 0, 1)
    others = {**references.naive(stream), BOOSTING: fit(stream, subject.train)}
    progress(f"{stream.name}: {BOOSTING}", 1, 1)
    summaries = []
    for kind in subject.kinds:
        test = subject.test if kind == "none" else subject.test.take(slice(0, part))
        summaries.append(_one(stream, subject.train, test, kind, others, progress))
    return summaries


def _one(
    stream: StreamDefinition,
    train: Rows,
    test: Rows,
    kind: Kind,
    others: Mapping[str, Reference],
    progress: Progress,
) -> Summary:
    def in_run(what: str, done: int, total: int) -> None:
        progress(f"{stream.name}, {kind}: {what}", done, total)

    done = asyncio.run(backtest(stream, train, test, drift=kind, progress=in_run))
    # The same drift as the chain has seen, so that everyone sees the same records.
    seen = concatenate([train, drifts.apply(kind, test, stream, history=train)])
    changes = drifts.marks(kind, test.t) if kind == "step" else []
    return summary(done, stream, changes, References(stream, references.timelines(seen, stream), others))


def summary(done: Run, stream: StreamDefinition, changes: Sequence[int], others: References) -> Summary:
    """What a run tells. changes: the times of steps, milliseconds since the epoch."""
    outcomes = [outcome(done.collected.blends, index, stream) for index in range(len(stream.horizon))]
    lines = [
        _line(scored, h, changes, others.forecasts(scored, index))
        for index, (h, scored) in enumerate(zip(stream.horizon, outcomes, strict=True))
    ]
    report = done.report
    alerts = 1e4 * report.drift_alerts / max(1, report.records)
    return Summary(report.stream, report.drift, report.records, report.retrains, alerts, report.seconds, lines)


def _line(scored: Outcome, horizon: int, changes: Sequence[int], others: Mapping[str, Floats]) -> Line:
    mask = common(scored)
    keys = np.unique(scored.keys)
    of_key = [mask & (scored.keys == key) for key in keys]
    names = [name for name in ROWS if name in scored.forecasts]
    rmses = {name: [_rmse(scored, name, part) for part in of_key] for name in names}
    skills = [skill(mine, naive) for mine, naive in zip(rmses[PUBLISHED], rmses[PERSISTENCE], strict=True)]
    covered = [_coverage(scored, part) for part in of_key]
    backs = [_back(scored, part, change) for part in of_key for change in changes]
    return Line(
        horizon,
        {name: float(np.mean(values)) for name, values in rmses.items()},
        float(np.mean(skills)),
        float(np.mean([share for share, _ in covered])),
        min(least for _, least in covered),
        float(np.mean(backs)) if backs else None,
        compared(scored, others, of_key),
    )


def _rmse(scored: Outcome, name: str, part: Mask | Ints) -> float:
    """Over the records of `part` that the row forecast: one that comes late narrows nobody's."""
    forecast, truth = scored.forecasts[name][part], scored.truth[part]
    both = np.isfinite(forecast) & np.isfinite(truth)
    return rmse(forecast[both], truth[both])


def _coverage(scored: Outcome, part: Mask) -> tuple[float, float]:
    met = part & np.isfinite(scored.lower)
    hit = ((scored.truth >= scored.lower) & (scored.truth <= scored.upper))[met]
    total = np.concatenate([[0], np.cumsum(hit)])
    stretches: Floats = (total[STRETCH:] - total[:-STRETCH])[STRETCH:] / STRETCH
    return float(hit.mean()), float(stretches.min(initial=1.0))


def _back(scored: Outcome, part: Mask, change: int) -> float:
    """See `Line.back`."""
    places = np.flatnonzero(part)
    at = int(np.searchsorted(scored.t[places], change))
    before, after = places[at - LEVEL : at], places[at + BACK_AFTER : at + BACK_AFTER + LEVEL]
    mine, naive = (_rmse(scored, name, after) / _rmse(scored, name, before) for name in (PUBLISHED, PERSISTENCE))
    return mine / naive


def read_plan(
    streams: Sequence[StreamDefinition],
    data: Path,
    begin: int,
    part: int,
    *,
    only: Collection[str] = (),
    drift: bool = True,
    cache: Path,
) -> AccuracyPlan:
    """The streams, all over the same file, and the load profiles, which are downloaded into `cache`.

    begin: what is before is learned from, milliseconds since the epoch. only: names of streams, all if there are none.
    drift: also with every drift. Raises InvalidInput, Unavailable.
    """
    grouped = [_together(stream) for stream in streams if stream.key is not None]
    names = [*(stream.name for stream in [*streams, *grouped]), *simbench.PROFILES]
    unknown = sorted(set(only) - set(names))
    if unknown:
        raise InvalidInput(f"found no stream {unknown[0]!r}, expected one of {', '.join(names)}")
    chosen = set(only or names)
    kinds: Sequence[Kind] = KINDS if drift else ("none",)
    subjects = [_recorded(stream, data, begin, kinds, stream.name) for stream in streams if stream.name in chosen]
    subjects += [_recorded(stream, data, begin, ("none",), NEIGHBOURS) for stream in grouped if stream.name in chosen]
    return AccuracyPlan([*subjects, *_load_profiles(chosen, cache)], part)


def _together(stream: StreamDefinition) -> StreamDefinition:
    """The same stream, whose series see each other and are forecast together."""
    return stream.model_copy(update={"name": f"{stream.name}-together", "group": "all", "together": True})


def _recorded(stream: StreamDefinition, data: Path, begin: int, kinds: Sequence[Kind], section: str) -> Subject:
    rows = tables.read_file(data, stream)
    defined = stream.model_copy(update={"horizon": HORIZONS})
    return Subject(defined, rows.take(rows.t < begin), rows.take(rows.t >= begin), kinds, section)


def _load_profiles(chosen: Collection[str], cache: Path) -> list[Subject]:
    streams = simbench.definitions(chosen)
    if not streams:
        return []
    pairs = zip(streams, simbench.read(simbench.table(cache), streams), strict=True)
    return [Subject(stream, *simbench.split(rows), ("none",), LOAD_PROFILES) for stream, rows in pairs]
