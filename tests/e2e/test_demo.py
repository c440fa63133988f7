"""The demo's own chain in one process, shortened: it trains, streams, archives, retrains, swaps, blends and scores.

It runs twice for all tests, once as the demo and once as a backtest of the same: what both give must be the same.
"""

import asyncio
import base64
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli import demo, drifts
from driftline_cli.backtest import Report, Run, backtest
from driftline_cli.drift_kinds import Kind
from tests.cli.reading import CHROMIUM, assert_reads_well

pytestmark = pytest.mark.e2e
RECORDS = 3000
DRIFT: Kind = "step"
SEED = 3
PICTURES = ("forecasts.png", "weights.png", "rolling-error.png")


@dataclass(frozen=True)
class Finished:
    """A run, and the folder that it filled: of pictures, or the store."""

    run: Run
    folder: Path
    said: str = ""
    drifted: int = 0
    """When the data jump, milliseconds since the epoch."""

    @property
    def report(self) -> Report:
        return self.run.report


@pytest.fixture(scope="module")
def small(temperature: StreamDefinition) -> StreamDefinition:
    training = temperature.training.model_copy(update={"epochs": 3, "units": (32,), "networks": 1})
    return temperature.model_copy(update={"training": training})


@pytest.fixture(scope="module")
def streamed(later: Rows) -> Rows:
    return later.take(slice(0, RECORDS))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, small, history: Rows, streamed: Rows) -> Finished:
    report = tmp_path_factory.mktemp("demo") / "report"
    drifted = drifts.apply(DRIFT, streamed, small, history=history, seed=SEED)
    plan = demo.DemoPlan(small, history, drifted, DRIFT, SEED, report)
    console = Console(file=io.StringIO(), width=200)
    run = asyncio.run(demo.run(plan, console, port=None))
    [jump] = drifts.marks(DRIFT, drifted.t)
    return Finished(run, report, console.file.getvalue(), jump)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory, small, history: Rows, streamed: Rows) -> Finished:
    store = tmp_path_factory.mktemp("store")
    return Finished(asyncio.run(backtest(small, history, streamed, drift=DRIFT, seed=SEED, store=store)), store)


def test_the_demo_draws_its_pictures_and_scores_every_row(shown: Finished):
    report = shown.report
    assert report.records == RECORDS
    assert (report.retrains, report.swaps) == (3, 5)
    rows_scored = {"persistence", "seasonal", "rls", "stack", "batch", "speed", "static", "window", "online", "blend"}
    assert set(report.rows) == rows_scored
    scored = {name: score.n for name, score in report.rows.items()}
    # It needs a day behind it, which here is a large part of the run.
    assert scored.pop("seasonal") < scored["blend"]
    assert len(set(scored.values())) == 1
    # The guard may have held persistence for a while.
    assert report.rows["blend"].rmse <= 1.01 * report.rows["online"].rmse
    assert report.rows["blend"].skill > 0
    assert {file.name for file in shown.folder.iterdir()} == {*PICTURES, "index.html"}


def test_the_demo_ends_with_its_report_and_how_to_see_the_dashboard(shown: Finished):
    *_, report, dashboard = shown.said.splitlines()
    assert report == f"report: {shown.folder / 'index.html'}"
    assert dashboard == "dashboard: `make demo KEEP=1` serves it at http://127.0.0.1:8003/"


def test_the_report_says_what_happened_and_holds_its_pictures(shown: Finished):
    page = (shown.folder / "index.html").read_text(encoding="utf-8")
    for name in PICTURES:
        assert base64.b64encode((shown.folder / name).read_bytes()).decode() in page
    blend = shown.report.rows["blend"]
    assert f"10 minutes ahead: RMSE {blend.rmse:.4g}, repeating the last value" in page
    assert "3,000 records went through all four services" in page
    assert "The speed model was retrained 3 times on the newest records, 5 models were swapped in" in page
    drifted = datetime.fromtimestamp(shown.drifted / 1000, UTC)
    assert f"<li>{drifted:%Y-%m-%d %H:%M} UTC: the data jump</li>" in page
    newest = next(swap.version for swap in reversed(shown.run.swaps) if swap.member == "speed")
    assert f"speed is now {newest}" in page
    assert "<code>make demo KEEP=1</code>" in page


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no browser here: Debian's package chromium has it")
async def test_the_report_is_for_everyone_on_phone_and_desktop_in_dark_and_light(shown: Finished):
    await assert_reads_well(shown.folder / "index.html", pictures=len(PICTURES))


def test_every_forecast_names_the_version_that_made_it(tested: Finished):
    blends = sorted(tested.run.collected.blends, key=lambda blend: blend.t)
    assert blends[0].versions["batch"].startswith("v000001-")
    assert blends[-1].versions["speed"].startswith("v000003-")
    swaps = [swap for swap in tested.run.swaps if swap.member == "speed"]
    assert len(swaps) == 4
    for swap, following in pairwise(swaps):
        # Records of one time come before and after a swap.
        served = [blend for blend in blends if swap.t < blend.t < following.t]
        assert served
        assert {blend.versions["speed"] for blend in served} == {swap.version}
    assert swaps[-1].t == blends[-1].t, "the newest version came with the last record"


async def test_the_cloud_sees_what_the_edge_did(tested: Finished, small: StreamDefinition):
    blends = {(blend.key, blend.t): blend for blend in tested.run.collected.blends}
    store = FolderStore(tested.folder)
    results = [listed.key async for listed in store.list("results/")]
    assert len(results) == RECORDS // small.window
    for result in results:
        found = pq.read_table(tested.folder / result).to_pydict()
        assert len(found["t"]) == small.window
        assert found["truth_1"][:-1] == found["observed"][1:]
        published = [blends[key, round(t.timestamp() * 1000)] for key, t in zip(found["key"], found["t"], strict=True)]
        assert found["observed"] == [blend.observed for blend in published]
        assert found["blend_1"] == [blend.value[0] for blend in published]
        assert found["weight_speed_1"] == [blend.weights.get("speed", [None])[0] for blend in published]


def test_two_runs_give_the_same_scores(shown: Finished, tested: Finished):
    assert set(tested.report.rows) == set(shown.report.rows)
    assert len(shown.report.rows) > 0
    for name, score in shown.report.rows.items():
        assert tested.report.rows[name].n == score.n > 0
        assert tested.report.rows[name].rmse == pytest.approx(score.rmse, rel=1e-4)
