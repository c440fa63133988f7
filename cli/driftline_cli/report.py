"""Tables for people, by rich."""

from math import isnan

from rich.console import Group
from rich.table import Table
from rich.text import Text

from driftline.scoring import PUBLISHED, STRATEGIES
from driftline.streams.definition import StreamDefinition
from driftline_cli.backtest import Report, Run
from driftline_cli.evaluate import Score
from driftline_cli.latency import stages
from driftline_cli.lengths import in_words


def scores_table(title: str, rows: dict[str, Score], unit: str) -> Table:
    """Per member and strategy how well it did; the published blend last and bold."""
    table = Table(title=title, title_justify="left")
    table.add_column("forecast by")
    for name in (f"RMSE, {unit}", f"MAE, {unit}", "skill", "records"):
        table.add_column(name, justify="right")
    for name, score in sorted(rows.items(), key=lambda item: (item[0] == PUBLISHED, item[0] in STRATEGIES)):
        kind = "strategy" if name in STRATEGIES else "published" if name == PUBLISHED else "member"
        figures = (_figure(score.rmse, ".4f"), _figure(score.mae, ".4f"), _figure(score.skill, "+.3f"))
        table.add_row(f"{name} ({kind})", *figures, f"{score.n:,}", style="bold" if name == PUBLISHED else None)
    return table


def _figure(value: float, form: str) -> str:
    """A dash where nothing was scored."""
    return "-" if isnan(value) else format(value, form)


def latency_table(run: Run) -> Table:
    """Per stage the time from a message's arrival on its topic to its acknowledged output."""
    table = Table(title="Latency per stage, at full speed", title_justify="left")
    table.add_column("stage")
    table.add_column("p50, ms", justify="right")
    table.add_column("p99, ms", justify="right")
    for metrics in run.latencies.values():
        for stage in stages(metrics.registry):
            table.add_row(stage.name, f"{stage.p50 * 1000:.1f}", f"{stage.p99 * 1000:.1f}")
    return table


def summary(report: Report) -> Text:
    return Text(
        f"{report.records:,} records in {report.seconds:.0f} s, {report.retrains} retrainings, {report.swaps} swaps, "
        f"{report.drift_alerts} drift alerts"
    )


def render(run: Run, stream: StreamDefinition) -> Group:
    """All tables of a run."""
    return Group(*score_tables(run, stream), latency_table(run), summary(run.report))


def score_tables(run: Run, stream: StreamDefinition) -> list[Table]:
    """One for each horizon."""
    title = f"{stream.name}, drift {run.report.drift}"
    return [
        scores_table(f"{title}, {in_words(int(steps) * stream.time.period)} ahead", scored.rows, unit_of(stream))
        for steps, scored in run.report.horizons.items()
    ]


def unit_of(stream: StreamDefinition) -> str:
    """The target's unit, or its name where the definition has none."""
    return stream.unit or stream.target
