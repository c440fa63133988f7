"""The demo's plan and its report: what is said of few records, of none, and of very many events."""

from pathlib import Path

import numpy as np
import pytest

from driftline.errors import InvalidInput
from driftline.messages import Alert
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows
from driftline_cli import demo
from driftline_cli.backtest import HorizonReport, Report, Run
from driftline_cli.chain import CollectedOutputs, ModelSwap
from driftline_cli.demo_report import MOST_LINES, demo_report, timetable
from driftline_cli.evaluate import Score
from driftline_cli.html_report import render_html

HOUR = 3_600_000
NAN = float("nan")
UNSCORED = Score(NAN, NAN, NAN, 0)
STREAM = parse(
    "name: tank\ntime: {column: time, zone: UTC, period: 1h}\ntarget: level\n"
    "columns: {level: {unit: cm}}\nhorizon: [1, 6]\n",
    "tank.yaml",
)


def hours(first: int, count: int) -> Rows:
    return Rows(np.full(count, "a"), HOUR * np.arange(first, first + count), np.ones((count, 1)))


def plan(data: Rows) -> demo.DemoPlan:
    return demo.plan(STREAM, data, begin=24 * HOUR, records=10, drift="none", seed=0, report=Path("report"))


def run(near: dict[str, Score], far: dict[str, Score], stream: StreamDefinition = STREAM) -> Run:
    horizons = {"1": HorizonReport(near, []), "6": HorizonReport(far, [])}
    report = Report(stream.name, "none", 0, near, [], horizons, 10, 1, 0, 0, 2.0)
    return Run(report, CollectedOutputs(), [], {})


def page(run: Run) -> str:
    return render_html(demo_report(run, STREAM, "none", [], 24, {}))


@pytest.mark.parametrize(("data", "counts"), [(hours(0, 24), "24 records before"), (hours(24, 9), "0 records before")])
def test_a_demo_without_history_or_without_records_is_refused(data: Rows, counts: str):
    with pytest.raises(InvalidInput, match=f"found {counts} 1970-01-02 and . later, expected both"):
        plan(data)


def test_the_history_ends_where_the_records_begin():
    planned = plan(hours(0, 40))
    assert (len(planned.history), len(planned.replay), planned.replay.t[0]) == (24, 10, 24 * HOUR)


def test_where_no_truth_came_the_report_says_so_and_has_no_number_that_is_none():
    near = {"persistence": Score(2.0, 1.5, 0.0, 9), "seasonal": UNSCORED, "blend": Score(1.0, 0.5, 0.5, 9)}
    written = page(run(near, dict.fromkeys(near, UNSCORED)))
    assert "1 hour ahead: RMSE 1, repeating the last value 2, the best single member in hindsight (persistence) 2." in (
        written
    )
    assert "6 hours ahead: no forecast has met its truth yet." in written
    assert "6 hours ahead, no forecast has met its truth yet: stream more records." in written
    assert "<td>-</td>" in written
    assert "nan" not in written


def test_the_tables_say_how_long_ahead_and_in_which_unit():
    scored = {"persistence": Score(2.0, 1.5, 0.0, 9), "blend": Score(1.0, 0.5, 0.5, 9)}
    written = page(run(scored, scored))
    assert "<caption>tank, drift none, 6 hours ahead</caption>" in written
    assert '<th scope="col">RMSE, cm</th>' in written
    assert "6 hours ahead, the error of the published forecast was 50 % smaller" in written


def test_of_very_many_events_the_first_are_listed_and_the_jump_of_the_data_always():
    alerts = [Alert("tank", "a", hour * HOUR, "drift", "error", "it rose") for hour in range(3 * MOST_LINES)]
    stuck = [Alert("tank", "", 0, "stuck", "level", "it stands still")] * 2
    lines = timetable([ModelSwap("speed", "v000002", HOUR)], [*alerts, *stuck], [2 * MOST_LINES * HOUR])
    assert lines[0] == "1970-01-01 00:00 UTC: a: drift (error): it rose"
    assert "1970-01-01 01:00 UTC: speed is now v000002" in lines
    assert lines[-3] == "1970-01-04 08:00 UTC: the data jump"
    assert lines[-2:] == [
        f"and {2 * MOST_LINES + 1} more",
        "2 alerts of the kind stuck, which are not listed",
    ]
    assert len(lines) == MOST_LINES + 3


def test_an_alert_of_no_series_is_about_the_stream():
    [line] = timetable([], [Alert("tank", "", 0, "rollback", "batch", "worse than before")], [])
    assert line == "1970-01-01 00:00 UTC: tank: rollback (batch): worse than before"
