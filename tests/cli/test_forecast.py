"""`driftline forecast` against a combiner: the next values in words, as a table and as JSON, and what is not there."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import stamina
from typer.testing import CliRunner, Result

from driftline.bus.memory import MemoryBus
from driftline.messages import FORECASTS, Forecast
from driftline.streams.definition_files import parse
from driftline_cli.__main__ import app
from driftline_cli.broker import free_port
from driftline_cli.forecast_words import next_value, number, shown
from driftline_cli.lengths import in_words
from driftline_client import ForecastInterval, ForecastValue
from driftline_combiner.app import create_app
from driftline_combiner.settings import CombinerSettings
from tests.serving import served

BEGIN = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
RECORDS = 60
KEYS = ["cellar", "roof/north"]
DEFINITION = (
    "name: sun\ntime: {column: when, period: 10min}\nkey: id\ntarget: power\nhorizon: [1, 6, 36, 144]\n"
    "columns: {power: {unit: kW}}\n"
)


def forecast(key: str, n: int) -> Forecast:
    level = 1 + n % 3 / 10
    members: dict[str, list[float | None]] = {"persistence": [level] * 4}
    return Forecast("sun", key, BEGIN + n * 600_000, level, [1, 6, 36, 144], members, {}, 0.0)


@pytest.fixture(scope="module")
def combiner() -> Iterator[str]:
    """Its address; it runs in a thread of its own, since the command has a loop of its own."""
    ready, done, address = threading.Event(), threading.Event(), []

    async def serve() -> None:
        bus = MemoryBus()
        streams = {"sun": parse(DEFINITION, "sun.yaml"), "rain": parse(DEFINITION.replace("sun", "rain"), "rain.yaml")}
        async with served(create_app(CombinerSettings(), bus, streams=streams, on_death=lambda *_: None)) as at:
            for key in KEYS:
                await bus.publish(FORECASTS, [forecast(key, n) for n in range(RECORDS)])
            await all_known(f"http://{at}")
            address.append(f"http://{at}")
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(60)
    yield address[0]
    done.set()
    thread.join()


@stamina.retry(on=AssertionError, attempts=None, timeout=30, wait_max=0.2)
async def all_known(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        issued = [series["issued"] for series in (await client.get("/v1/forecasts/sun")).json()]
        assert issued == [BEGIN + (RECORDS - 1) * 600_000] * len(KEYS)
        former = await client.get("/v1/forecasts/sun", params={"at": BEGIN})
        assert len(former.json()) == len(KEYS)


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An hour east of UTC, whatever the machine's is."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


def run(combiner: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["forecast", *arguments, "--combiner", combiner], env={"COLUMNS": "120"})


def test_one_series_is_shown_by_the_line(combiner: str):
    lines = run(combiner, "sun", "cellar").stdout.splitlines()
    assert lines[0] == "sun/cellar, from the record of 2026-01-01 10:50, power was 1.2 kW"
    assert "so all of this is past: is anything sending?" in lines[1]
    assert lines[2].startswith("in 10 minutes (11:00) 1.2")
    assert " kW, between " in lines[2]
    assert [line.partition(")")[0] for line in lines[3:]] == [
        "in 1 hour (11:50",
        "in 6 hours (16:50",
        "in 1 day (2026-01-02 10:50",
    ]


def test_a_key_may_have_a_slash(combiner: str):
    assert run(combiner, "sun", "roof/north").stdout.startswith("sun/roof/north, from")


def test_all_series_are_shown_by_the_row(combiner: str):
    text = run(combiner, "sun").stdout
    assert "sun: power in kW, and 90 % interval" in text
    for part in (*KEYS, "in 10 minutes", "in 6 hours", "in 1 day", "1 more horizon: choose"):
        assert part in text
    assert "in 1 hour" not in text
    assert "in 1 hour" in run(combiner, "sun", "--horizon", "6").stdout


def test_the_definitions_file_names_the_stream(combiner: str, tmp_path: Path):
    (tmp_path / "sun.yaml").write_text(DEFINITION)
    assert run(combiner, str(tmp_path / "sun.yaml"), "cellar").stdout.startswith("sun/cellar")


def test_scripts_get_what_the_combiner_says(combiner: str):
    one = json.loads(run(combiner, "sun", "cellar", "--json", "--horizon", "6", "--horizon", "36").stdout)
    assert [value["horizon"] for value in one["forecasts"]] == [6, 36]
    every = json.loads(run(combiner, "sun", "--json", "--at", "2026-01-01T00:25:00Z").stdout)
    assert [(series["key"], series["issued"]) for series in every] == [(key, BEGIN + 1_200_000) for key in KEYS]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rain"], "no forecast of rain yet; send records: driftline replay"),
        (["rain", "cellar"], "combiner answered 404: no forecast of rain/cellar yet, or another replica has it"),
        (["snow"], "combiner answered 404: found no stream 'snow', expected one of ['rain', 'sun']"),
        (["sun", "cellar", "--horizon", "7"], "horizon: found 7, expected one of [1, 6, 36, 144] steps of sun"),
        (["sun", "cellar", "--at", "2025-01-01T00:00:00Z"], "memory goes back to 2026-01-01T00:00:00+00:00"),
        (["sun", "--at", "2025-01-01T00:00:00Z"], "no series has one of that time in memory"),
        (["sun", "cellar", "--at", "noon"], "query.at"),
    ],
)
def test_what_can_not_be_shown_is_said(combiner: str, arguments: list[str], sentence: str):
    done = run(combiner, *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert sentence in done.stderr


def test_a_combiner_that_is_not_there_is_said():
    done = run(f"http://127.0.0.1:{free_port()}", "sun", "cellar")
    assert (done.exit_code, "does not answer" in done.stderr) == (3, True)


def value(amount: float | None, lower: float | None, upper: float | None) -> ForecastValue:
    time, interval = datetime.fromtimestamp(BEGIN / 1000, UTC), ForecastInterval(0.9, lower, upper)
    return ForecastValue(36, 6 * 3600, BEGIN, time, amount, amount, interval, {}, guarded=False)


@pytest.mark.parametrize(
    ("amount", "lower", "upper", "words"),
    [
        (0.45, 0.1, 0.8, "0.45 kW, between 0.10 and 0.80"),
        (15.24, 9.1, 21.4, "15 kW, between 9 and 21"),
        (15.24, 13.1, 18.4, "15.2 kW, between 13.1 and 18.4"),
        (1234567.8, 1234000.0, 1235000.0, "1,234,568 kW, between 1,234,000 and 1,235,000"),
        (-0.001, -0.4, 0.6, "0.0 kW, between -0.4 and 0.6"),
        (0.0, None, None, "0.00 kW, its interval is not known yet"),
        (12.345, None, None, "12.3 kW, its interval is not known yet"),
        (3.0, 3.0, 3.0, "3.00 kW, between 3.00 and 3.00"),
        (None, None, None, "no forecast yet"),
    ],
)
def test_a_value_has_as_many_decimals_as_its_interval_is_wide(
    amount: float | None, lower: float | None, upper: float | None, words: str
):
    said = next_value(value(amount, lower, upper), BEGIN - 6 * 3_600_000, "kW", UTC)
    assert said == f"in 6 hours (2026-01-01 00:00) {words}"


def test_without_a_unit_there_is_none():
    said = next_value(value(0.45, 0.1, 0.8), BEGIN - 1, None, UTC)
    assert said.endswith(") 0.45, between 0.10 and 0.80")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 second"), (90, "90 seconds"), (600, "10 minutes"), (129_600, "36 hours"), (172_800, "2 days")],
)
def test_lengths_are_in_whole_words(seconds: int, words: str):
    assert in_words(seconds) == words


def test_many_horizons_are_thinned_evenly_with_both_ends():
    assert shown(range(1, 37), 3) == [1, 19, 36]
    assert shown([1, 6], 3) == [1, 6]
    assert number(-0.0, 1) == "0.0"
