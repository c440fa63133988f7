"""docs/accuracy.md: the tables of `driftline accuracy`."""

from collections.abc import Iterator, Sequence

import numpy as np

from driftline.scoring import PUBLISHED, ROWS
from driftline_cli.accuracy import AccuracyPlan, Line, Summary

HEAD = """
Written by `make accuracy`; nothing here is typed by hand. Every stream is learned from its history and streamed from
then on through the services' own code. The turbines: trained on 2014, streamed 2015, all of it undrifted, its first
{part:,} records with each drift. The load profiles: quarters of an hour of 2016, 60 % history, the rest streamed,
everything in their definitions at its default. RMSE in the target's units, the mean over the keys; `skill` is
1 - RMSE / RMSE(persistence) of the blend; `vs best` is the blend's RMSE divided by that of the best member or strategy
in hindsight; `coverage` is that of the 90 % interval, `least` in any 500 records of a key. `back`: the blend's error
200 records after a step divided by that before, with persistence's own change divided out.

Below each table the blend is compared with others on the same records: their RMSE and, in brackets, the blend's divided
by it. `yesterday` and `last week` repeat the value at the same time, as many whole days or weeks back as the horizon
needs. `boosting` is a gradient boosting model (LightGBM), trained once on the same history with lags, the day and the
week before, and the local calendar. `mixture` is the best fixed convex mixture of the members in hindsight, `one shift`
the best with one change of its weights: no strategy can know them, and each key has its own.

Under `neighbours` are the turbines again, whose series see each other and are forecast together (`group: all`,
`together: true`); the boosting model sees one series alone.

The load profiles are those of [SimBench](https://simbench.de), from its Python package, under the
[Open Database License 1.0](https://opendatacommons.org/licenses/odbl/1-0/).
"""
MEAN = "mean"


def render(runs: Sequence[Sequence[Summary]], plan: AccuracyPlan) -> str:
    """The page. runs: by subject of the plan, as `accuracy.run` gives them."""
    text = ["# Accuracy", "", HEAD.format(part=plan.part).strip()]
    for section in dict.fromkeys(subject.section for subject in plan.subjects):
        members = [of for subject, of in zip(plan.subjects, runs, strict=True) if subject.section == section]
        text += ["", f"## {section}", "", *_section(section, members)]
    return "\n".join([*text, ""])


def _section(section: str, runs: Sequence[Sequence[Summary]]) -> Iterator[str]:
    """One row for each drift, or, in a section that streams share, for each stream."""
    shared = any(of[0].stream != section for of in runs)
    by = "stream" if shared else "drift"
    rows = [(summary.stream if shared else summary.drift, summary) for of in runs for summary in of]
    yield from _runs(by, rows)
    for index, line in enumerate(rows[0][1].lines):
        lines = [(label, summary.lines[index]) for label, summary in rows]
        yield from ["", f"### {line.horizon} ahead", "", *_members(by, lines)]
        yield from ["", f"#### {line.horizon} ahead, compared", "", *_rivals(by, lines, with_mean=shared)]


def _runs(by: str, rows: Sequence[tuple[str, Summary]]) -> list[str]:
    cells = [[label, f"{s.records:,}", str(s.retrains), f"{s.alerts:.2f}", f"{s.seconds:,.0f}"] for label, s in rows]
    return _markdown([by, "records", "retrainings", "drift alerts in 10,000 records", "seconds"], cells)


def _members(by: str, lines: Sequence[tuple[str, Line]]) -> list[str]:
    names = [name for name in ROWS if name in lines[0][1].rmse]
    rows = [
        [
            label,
            *(f"{line.rmse[name]:.4g}" for name in names),
            f"{line.skill:.4f}",
            f"{line.versus_best:.4f} ({line.best})",
            f"{line.coverage:.4f}",
            f"{line.least:.3f}",
            "" if line.back is None else f"{line.back:.3f}",
        ]
        for label, line in lines
    ]
    return _markdown([by, *names, "skill", "vs best", "coverage", "least", "back"], rows)


def _rivals(by: str, lines: Sequence[tuple[str, Line]], *, with_mean: bool) -> list[str]:
    names = list(lines[0][1].rivals)
    rows = [
        [
            label,
            f"{line.rmse[PUBLISHED]:.4g}",
            *(f"{line.rivals[name].rmse:.4g} ({line.rivals[name].share:.3f})" for name in names),
        ]
        for label, line in lines
    ]
    if with_mean:
        shares = [np.mean([line.rivals[name].share for _, line in lines]) for name in names]
        rows.append([MEAN, "", *(f"({share:.3f})" for share in shares)])
    return _markdown([by, PUBLISHED, *names], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
