"""The demo's own chain in one process, shortened: it trains, streams, archives, retrains, swaps, blends and scores."""

import asyncio
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from driftline.definition import StreamDefinition
from driftline.folder import FolderStore
from driftline.tables import Rows
from driftline_cli import demo
from driftline_cli.backtest import Report, backtest

pytestmark = pytest.mark.e2e
RECORDS = 3000


@pytest.fixture(scope="module")
def small(temperature: StreamDefinition) -> StreamDefinition:
    training = temperature.training.model_copy(update={"epochs": 3, "units": (32,)})
    return temperature.model_copy(update={"training": training})


async def test_the_demo_draws_its_pictures_and_scores_every_row(tmp_path, small, history: Rows, later: Rows):
    rows = later.take(slice(0, RECORDS))
    plan = demo.Plan(small, history, rows, "none", 0, tmp_path / "report")
    done = await demo.run(plan, Console(file=io.StringIO()), port=None)
    report = done.report
    assert report.records == RECORDS
    assert (report.retrains, report.swaps) == (3, 5)
    rows_scored = {"persistence", "seasonal", "rls", "stack", "batch", "speed", "static", "window", "online", "blend"}
    assert set(report.rows) == rows_scored
    assert len({score.n for score in report.rows.values()}) == 1
    # The guard may have held persistence for a while.
    assert report.rows["blend"].rmse <= 1.01 * report.rows["online"].rmse
    assert report.rows["blend"].skill > 0
    assert {picture.name for picture in (tmp_path / "report").iterdir()} == {
        "forecasts.png",
        "weights.png",
        "rolling-error.png",
    }


async def test_every_forecast_names_the_version_that_made_it_and_the_cloud_sees_what_the_edge_did(
    tmp_path: Path, small: StreamDefinition, history: Rows, later: Rows
):
    done = await backtest(small, history, later.take(slice(0, RECORDS)), store=tmp_path)
    by_time = sorted(done.collected.blends, key=lambda blend: blend.t)
    assert by_time[0].versions["batch"].startswith("v000001-")
    assert by_time[-1].versions["speed"].startswith("v000003-")
    store = FolderStore(tmp_path)
    results = [listed.key async for listed in store.list("results/")]
    assert results
    found = pq.read_table(tmp_path / results[0]).to_pydict()
    assert len(found["t"]) == small.window
    assert found["truth_1"][:-1] == found["observed"][1:]


def test_two_runs_give_the_same_scores(small: StreamDefinition, history: Rows, later: Rows):
    def run() -> Report:
        return asyncio.run(backtest(small, history, later.take(slice(0, 1500)), drift="step", seed=3)).report

    first, second = run(), run()
    for name, score in first.rows.items():
        assert second.rows[name].rmse == pytest.approx(score.rmse, rel=1e-4)
