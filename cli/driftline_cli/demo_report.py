"""The page that a demo leaves behind: what it showed, in words, tables and pictures, and what to do next. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isnan

from driftline.members import PERSISTENCE
from driftline.messages import Alert
from driftline.scoring import PUBLISHED, STRATEGIES, skill
from driftline.streams.definition import StreamDefinition
from driftline_cli.backtest import HorizonReport, Run
from driftline_cli.chain import ModelSwap
from driftline_cli.drift_kinds import Kind
from driftline_cli.html_report import BulletList, HtmlReport, Paragraph, Picture, ReportSection, ShellCommand
from driftline_cli.lengths import in_words, percent
from driftline_cli.report import latency_table, score_tables

MOST_LINES = 40
"""Of what happened; the rest is counted."""
LISTED = {"drift", "negative-skill", "rollback"}
"""Alerts that are listed one by one; of the others there may be very many."""
DRIFTS = {
    "none": "Nothing was added to the data.",
    "gradual": "On top of the data a drift was added: the level rises over the whole run.",
    "noise": "On top of the data a drift was added: a new random offset in every record.",
    "step": "On top of the data a drift was added: halfway the level of every sensor jumps. "
    "Nobody can foresee a jump, so it is in every error.",
    "recurring": "On top of the data a drift was added: the level jumps up and back again, several times.",
}
CAPTIONS = {
    "forecasts.png": (
        "The truth, every member's forecast, and the blend",
        "The last days, farthest ahead. The thick red line is the published forecast; it should lie on the truth.",
    ),
    "weights.png": (
        "The weights of the blend over time",
        "How much each member counts, record by record. After a drift the weights move to the members that do best.",
    ),
    "rolling-error.png": (
        "The rolling error of every member, of every strategy, and of the blend",
        "Lower is better. Lines across mark drift alerts, swapped models and, dashed, the drift itself.",
    ),
}
NEXT = (
    ShellCommand(
        "make demo KEEP=1",
        "See it live: the same again, and the dashboard goes on at http://127.0.0.1:8003/ until Ctrl-C.",
    ),
    ShellCommand("make demo DRIFT=gradual", "Try another drift: none, gradual, noise, step or recurring."),
    ShellCommand(
        ".venv/bin/driftline backtest --data yours.csv --target temperature --save streams/yours.yaml",
        "Would it help on your own data? Look at a CSV or Parquet file; its answer is a page like this one.",
    ),
    ShellCommand("make up", "Run the services: the edge as one process, the trainer as another. No broker, no Docker."),
)
MEANING = (
    "RMSE and MAE are errors in the target's unit; lower is better. The skill says how much smaller the RMSE is than "
    "that of persistence, which repeats the last value. Every row is scored on the same records, except members that "
    "need a day or more behind them. Nobody knows in advance which member will be best: the blend learns it."
)
READ_ON = (
    "The documentation is in docs/README.md: your own stream in 15 minutes, a Raspberry Pi, Docker, Kubernetes, and "
    "how the weights work."
)


@dataclass(frozen=True)
class Occasion:
    """Something that happened. t: time of the data, milliseconds since the epoch."""

    t: int
    what: str


def demo_report(
    run: Run, stream: StreamDefinition, drift: Kind, drifted: Sequence[int], learned: int, pictures: Mapping[str, bytes]
) -> HtmlReport:
    """drifted: the times at which the data jump. learned: records of history. pictures: PNGs by names of CAPTIONS."""
    sections = [
        ReportSection("How good were the forecasts?", [_comparisons(run, stream)]),
        ReportSection("Pictures", [Picture(png, *CAPTIONS[name]) for name, png in pictures.items()]),
        ReportSection("What to do next", [*NEXT, Paragraph(READ_ON)]),
        ReportSection("What happened", list(_story(run, drift, drifted, learned))),
        ReportSection("All scores", [Paragraph(MEANING), *score_tables(run, stream)]),
        ReportSection("How fast?", [Paragraph(f"All of it took {run.report.seconds:.0f} s."), latency_table(run)]),
    ]
    return HtmlReport(f"Driftline demo: {stream.name}", [Paragraph(_verdict(run, stream), answer=True)], sections)


def _verdict(run: Run, stream: StreamDefinition) -> str:
    steps, scored = list(run.report.horizons.items())[-1]
    return (
        f"{run.report.records:,} records were forecast while the models were retrained and swapped. "
        f"{in_words(int(steps) * stream.time.period)} ahead, {_gained(_gain(scored))}."
    )


def _gained(share: float) -> str:
    """share: by how much the error is smaller; NaN where no truth came."""
    if isnan(share):
        return "no forecast has met its truth yet: stream more records"
    size = f"{percent(abs(share))} {'smaller' if share >= 0 else 'larger'}"
    return f"the error of the published forecast was {size} than that of repeating the last value"


def _gain(scored: HorizonReport) -> float:
    return skill(scored.rows[PUBLISHED].rmse, scored.rows[PERSISTENCE].rmse)


def _comparisons(run: Run, stream: StreamDefinition) -> BulletList:
    return BulletList(
        [
            f"{in_words(int(steps) * stream.time.period)} ahead: {_against(scored)}"
            for steps, scored in run.report.horizons.items()
        ]
    )


def _against(scored: HorizonReport) -> str:
    if isnan(scored.rows[PUBLISHED].rmse):
        return "no forecast has met its truth yet."
    members = {
        name: score.rmse
        for name, score in scored.rows.items()
        if name not in (*STRATEGIES, PUBLISHED) and not isnan(score.rmse)
    }
    best = min(members, key=lambda name: members[name])
    blend = scored.rows[PUBLISHED].rmse
    return (
        f"RMSE {blend:.4g}, repeating the last value {members[PERSISTENCE]:.4g}, the best single member in hindsight "
        f"({best}) {members[best]:.4g}."
    )


def _story(run: Run, drift: Kind, drifted: Sequence[int], learned: int) -> Iterator[Paragraph | BulletList]:
    report = run.report
    yield Paragraph(
        f"A batch model learned from {learned:,} records of history. Then {report.records:,} records went through all "
        f"four services as if they came now. {DRIFTS[drift]}"
    )
    yield Paragraph(
        f"The speed model was retrained {report.retrains} times on the newest records, {report.swaps} models were "
        f"swapped in while records flowed, and {report.drift_alerts} drift alerts were sent."
    )
    if lines := timetable(run.swaps, run.collected.alerts, drifted):
        yield BulletList(lines)


def timetable(swaps: Sequence[ModelSwap], alerts: Sequence[Alert], drifted: Sequence[int]) -> list[str]:
    """What happened, in order of the data's time: every jump of the data, and MOST_LINES of the rest, which is counted
    beyond them."""
    happened = sorted(_occasions(swaps, alerts), key=lambda occasion: occasion.t)
    jumps = [Occasion(t, "the data jump") for t in drifted]
    listed = sorted([*happened[:MOST_LINES], *jumps], key=lambda occasion: occasion.t)
    lines = [f"{_time(occasion.t)}: {occasion.what}" for occasion in listed]
    if len(happened) > MOST_LINES:
        lines.append(f"and {len(happened) - MOST_LINES} more")
    others = Counter(alert.kind for alert in alerts if alert.kind not in LISTED)
    return [*lines, *(f"{count} alerts of the kind {kind}, which are not listed" for kind, count in others.items())]


def _occasions(swaps: Sequence[ModelSwap], alerts: Sequence[Alert]) -> Iterator[Occasion]:
    """In no order. Models that served before the first record are left out."""
    yield from (Occasion(swap.t, f"{swap.member} is now {swap.version}") for swap in swaps if swap.t)
    for alert in alerts:
        if alert.kind in LISTED:
            yield Occasion(alert.t, f"{alert.key or alert.stream}: {alert.kind} ({alert.subject}): {alert.detail}")


def _time(t: int) -> str:
    return f"{datetime.fromtimestamp(t / 1000, UTC):%Y-%m-%d %H:%M} UTC"
