"""How accurate every member is, on every stream, horizon and drift: writes docs/accuracy.md.

Trains on the rows before a split and streams those from then on: all of them undrifted, the first part of them with
each drift. Scores per key; reports means over the keys.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints
from driftline.members import PERSISTENCE
from driftline.scoring import PUBLISHED, ROWS, rmse, skill
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.tables import Rows
from driftline_cli import drifts
from driftline_cli.backtest import Run, backtest
from driftline_cli.drift_kinds import KINDS, Kind
from driftline_cli.evaluate import Outcome, common, outcome
from driftline_cli.progress import Progress

HORIZONS = (1, 6, 36)
STRETCH = 500
"""Records over which the least coverage is taken; a key's first stretch does not count."""
BACK_AFTER = 200
LEVEL = 250
"""After a step: records until the error is looked at again, and records over which it is taken."""
HEAD = """
Written by `make accuracy`; nothing here is typed by hand. Trained on 2014, streamed 2015 through the services' own
code: all of it undrifted, its first {part:,} records with each drift. RMSE in the target's units, the mean over four
turbines; `skill` is 1 - RMSE / RMSE(persistence) of the blend; `vs best` is the blend's RMSE divided by that of the
best member or strategy in hindsight; `coverage` is that of the 90 % interval, `least` in any 500 records of a turbine.
`back`: the blend's error 200 records after a step divided by that before, with persistence's own change divided out.
"""


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
class AccuracyPlan:
    """What is run. part: how many records with each drift."""

    streams: Sequence[tuple[StreamDefinition, Rows]]
    begin: int
    part: int
    kinds: Sequence[Kind] = KINDS


def run(plan: AccuracyPlan, progress: Progress) -> list[Summary]:
    """All runs, one after the other."""
    summaries = []
    for stream, rows in plan.streams:
        defined = stream.model_copy(update={"horizon": HORIZONS})
        train, test = rows.take(rows.t < plan.begin), rows.take(rows.t >= plan.begin)
        for kind in plan.kinds:
            part = test if kind == "none" else test.take(slice(0, plan.part))
            summaries.append(_one(defined, train, part, kind, progress))
    return summaries


def _one(stream: StreamDefinition, train: Rows, test: Rows, kind: Kind, progress: Progress) -> Summary:
    def in_run(what: str, done: int, total: int) -> None:
        progress(f"{stream.name}, {kind}: {what}", done, total)

    done = asyncio.run(backtest(stream, train, test, drift=kind, progress=in_run))
    changes = drifts.marks(kind, test.t) if kind == "step" else []
    return summary(done, stream, changes)


def summary(done: Run, stream: StreamDefinition, changes: Sequence[int]) -> Summary:
    """What a run tells. changes: the times of steps, milliseconds since the epoch."""
    lines = [_line(outcome(done.collected.blends, index), h, changes) for index, h in enumerate(stream.horizon)]
    report = done.report
    alerts = 1e4 * report.drift_alerts / max(1, report.records)
    return Summary(report.stream, report.drift, report.records, report.retrains, alerts, report.seconds, lines)


def _line(scored: Outcome, horizon: int, changes: Sequence[int]) -> Line:
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
    )


def _rmse(scored: Outcome, name: str, part: npt.NDArray[np.bool_] | Ints) -> float:
    """Over the records of `part` that the row forecast: one that comes late narrows nobody's."""
    forecast, truth = scored.forecasts[name][part], scored.truth[part]
    both = np.isfinite(forecast) & np.isfinite(truth)
    return rmse(forecast[both], truth[both])


def _coverage(scored: Outcome, part: npt.NDArray[np.bool_]) -> tuple[float, float]:
    met = part & np.isfinite(scored.lower)
    hit = ((scored.truth >= scored.lower) & (scored.truth <= scored.upper))[met]
    total = np.concatenate([[0], np.cumsum(hit)])
    stretches: Floats = (total[STRETCH:] - total[:-STRETCH])[STRETCH:] / STRETCH
    return float(hit.mean()), float(stretches.min(initial=1.0))


def _back(scored: Outcome, part: npt.NDArray[np.bool_], change: int) -> float:
    """See `Line.back`."""
    places = np.flatnonzero(part)
    at = int(np.searchsorted(scored.t[places], change))
    before, after = places[at - LEVEL : at], places[at + BACK_AFTER : at + BACK_AFTER + LEVEL]
    mine, naive = (_rmse(scored, name, after) / _rmse(scored, name, before) for name in (PUBLISHED, PERSISTENCE))
    return mine / naive


def render(summaries: Sequence[Summary], plan: AccuracyPlan) -> str:
    """docs/accuracy.md."""
    text = ["# Accuracy", "", HEAD.format(part=plan.part).strip()]
    for stream in dict.fromkeys(summary.stream for summary in summaries):
        mine = [summary for summary in summaries if summary.stream == stream]
        text += ["", f"## {stream}", "", *_runs(mine)]
        for index, h in enumerate(line.horizon for line in mine[0].lines):
            text += ["", f"### {h} ahead", "", *_table([(run.drift, run.lines[index]) for run in mine])]
    return "\n".join([*text, ""])


def _runs(summaries: Sequence[Summary]) -> list[str]:
    rows = [[s.drift, f"{s.records:,}", str(s.retrains), f"{s.alerts:.2f}", f"{s.seconds:,.0f}"] for s in summaries]
    return _markdown(["drift", "records", "retrainings", "drift alerts in 10,000 records", "seconds"], rows)


def _table(lines: Sequence[tuple[str, Line]]) -> list[str]:
    names = [name for name in ROWS if name in lines[0][1].rmse]
    rows = [
        [
            drift,
            *(f"{line.rmse[name]:.4g}" for name in names),
            f"{line.skill:.4f}",
            f"{line.versus_best:.4f} ({line.best})",
            f"{line.coverage:.4f}",
            f"{line.least:.3f}",
            "" if line.back is None else f"{line.back:.3f}",
        ]
        for drift, line in lines
    ]
    return _markdown(["drift", *names, "skill", "vs best", "coverage", "least", "back"], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def read_plan(streams: Sequence[StreamDefinition], data: Path, begin: int, part: int) -> AccuracyPlan:
    """All streams over the same file. Raises InvalidInput."""
    return AccuracyPlan([(stream, tables.read_file(data, stream)) for stream in streams], begin, part)
