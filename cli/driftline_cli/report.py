"""Tables for people, by rich."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from driftline.scoring import PUBLISHED, STRATEGIES
from driftline_cli.backtest import Report, Run
from driftline_cli.evaluate import Score
from driftline_cli.latency import stages


def scores_table(title: str, rows: dict[str, Score], unit: str) -> Table:
    """Per member and strategy how well it did; the published blend last and bold."""
    table = Table(title=title, title_justify="left")
    table.add_column("forecast by")
    for name in (f"RMSE, {unit}", f"MAE, {unit}", "skill", "records"):
        table.add_column(name, justify="right")
    for name, score in sorted(rows.items(), key=lambda item: (item[0] == PUBLISHED, item[0] in STRATEGIES)):
        kind = "strategy" if name in STRATEGIES else "published" if name == PUBLISHED else "member"
        cells = (f"{name} ({kind})", f"{score.rmse:.4f}", f"{score.mae:.4f}", f"{score.skill:+.3f}", f"{score.n:,}")
        table.add_row(*cells, style="bold" if name == PUBLISHED else None)
    return table


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
        f"{report.drift_alerts} drift alarms"
    )


def render(run: Run, target: str) -> Group:
    """All tables of a run."""
    return Group(*score_tables(run, target), latency_table(run), summary(run.report))


def score_tables(run: Run, target: str) -> list[Table]:
    """One for each horizon."""
    report = run.report
    return [
        scores_table(f"{report.stream}, drift {report.drift}, {horizon} ahead", scored.rows, target)
        for horizon, scored in report.horizons.items()
    ]
