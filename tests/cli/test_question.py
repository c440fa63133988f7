"""`driftline backtest --data`, from a file to its answer."""

import io
import sys
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline_cli import asking, question
from driftline_cli.__main__ import app
from driftline_cli.answer import Answer, verdict
from tests.cli.files import START, csv, hourly, weekly_course

pytestmark = pytest.mark.e2e
ROWS = 1_500
SHORT = "training: {units: [16], networks: 1, epochs: 2}\nhorizon: [1, 6]\n"


@pytest.fixture
def visitors(tmp_path: Path) -> Path:
    (tmp_path / "Visitors 2026.csv").write_bytes(weekly_course(ROWS))
    return tmp_path / "Visitors 2026.csv"


@pytest.fixture
def several(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_bytes(hourly(400, "time,warm,wet", lambda n, _: [n % 24, n % 7]))
    return tmp_path / "a.csv"


def backtest(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["backtest", *map(str, words)], env={"COLUMNS": "300"})
    return done.exit_code, done.output


def test_a_file_is_answered_and_its_definition_is_kept(tmp_path: Path, visitors: Path):
    saved, scores, report = tmp_path / "streams" / "visitors.yaml", tmp_path / "scores.json", tmp_path / "pictures"
    code, said = backtest("--data", visitors, "--save", saved, "--json", scores, "--report", report)
    assert code == 0, said
    assert "1,500 records, one series, from 2026-01-05T00:00 to 2026-03-08T11:00 UTC" in said
    assert "100 % of the records are 1 h apart" in said
    assert "900 records before 2026-02-11T12:00 UTC are the history, the 600 from then on are streamed" in said
    assert "target: visitors" in said
    assert "Forecasting " in said
    stream = load(saved)
    assert (stream.name, stream.target, stream.time.period) == ("visitors-2026", "visitors", 3600)
    given = msgspec.json.decode(scores.read_bytes(), type=Answer)
    assert [horizon.steps for horizon in given.horizons] == [1, 6, 24]
    assert all({"persistence", "yesterday", "last week", "blend"} == set(h.rmse) for h in given.horizons)
    assert given.horizons[0].rmse["blend"] < given.horizons[0].rmse["persistence"]
    # From the first record on it has yesterday and last week behind it, as the naive forecasts have.
    assert all(horizon.rmse["blend"] < horizon.rmse["last week"] for horizon in given.horizons)
    assert {file.name for file in report.iterdir()} == {"errors.png", "stretch.png", "index.html"}
    assert f"report: {report / 'index.html'}" in said
    page = (report / "index.html").read_text(encoding="utf-8")
    assert f"{verdict(given)}</p>" in page
    assert page.count("data:image/png;base64,") == 2
    assert "900 records before 2026-02-11T12:00 UTC are the history" in page
    assert f">{given.horizons[-1].rmse['blend']:.4g}<" in page


def test_a_kept_definition_is_read_by_both_forms(tmp_path: Path, visitors: Path):
    body = visitors.read_bytes().splitlines(keepends=True)
    history, later, saved = tmp_path / "history.csv", tmp_path / "later.csv", tmp_path / "x.yaml"
    history.write_bytes(b"".join(body[:901]))
    later.write_bytes(b"".join([body[0], *body[901:]]))
    question.proposed(visitors, asking.FileHints(), saved, Console(file=io.StringIO()))
    kept = saved.read_text()
    saved.write_text("\n".join(line for line in kept.splitlines() if not line.startswith("horizon")) + f"\n{SHORT}")
    code, said = backtest("--stream", saved, "--train", history, "--test", later)
    assert code == 0, said
    assert "visitors-2026, drift none, 6 hours ahead" in said
    code, said = backtest("--stream", saved, "--data", visitors, "--records", "300", "--report", tmp_path / "pictures")
    assert code == 0, said
    assert "the 300 from then on are streamed as if they came now, 1 h after 1 h; the 300 after those are left" in said


def test_without_a_terminal_the_numeric_columns_are_listed(several: Path):
    assert backtest("--data", several) == (
        1,
        "driftline: found no --target, expected one of the numeric columns: warm, wet\n",
    )


def test_at_a_terminal_the_target_is_asked_until_it_is_one(monkeypatch: pytest.MonkeyPatch, several: Path):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("cold\nwet\n"))
    assert question.look(several, asking.FileHints(), asking.ask_target).definition.target == "wet"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--target", "cold"], "found that no column 'cold' of measured values, expected as target one of: warm, wet"),
        (["--target", "wet", "--zone", "Mars/Base"], "--zone: found 'Mars/Base', expected the name of a time zone"),
        (["--target", "wet", "--key", "room"], "found no column 'room' for the key"),
        (["--target", "wet", "--save", "{folder}/a.csv"], "expected a file that ends with .yaml"),
        (["--target", "wet", "--save", "{folder}/there.yaml"], "there.yaml: exists already, expected a new file"),
        (["--target", "wet", "--save", "{folder}/b.yaml"], "there.yaml has a stream 'a' already"),
    ],
)
def test_a_wrong_word_is_refused_in_a_sentence(words: list[str], sentence: str, several: Path, tmp_path: Path):
    (tmp_path / "there.yaml").write_text("name: a\ntime: {column: time, period: 1h}\ntarget: wet\n")
    code, said = backtest("--data", several, *(word.format(folder=tmp_path) for word in words))
    assert code == 1
    assert sentence in said.splitlines()[-1]
    assert not (tmp_path / "b.yaml").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "found neither a file to look at (--data) nor all of --stream, --train and --test"),
        (["--stream", "a.yaml", "--train", "{data}"], "nor all of --stream, --train and --test"),
        (["--data", "{data}", "--train", "{data}"], "found --train, which this form of the command does not take"),
        (
            ["--data", "{data}", "--stream", "a", "--key", "k", "--save", "x.yaml"],
            "found --key, --save, which this form",
        ),
        (["--stream", "a", "--train", "{data}", "--test", "{data}", "--zone", "UTC"], "found --zone, which this form"),
        (["--data", "{data}", "--futures", "{data}"], "found --futures, which this form of the command does not take"),
    ],
)
def test_forms_are_not_mixed(words: list[str], sentence: str, several: Path):
    code, said = backtest(*(word.format(data=several) for word in words))
    assert code == 2
    assert sentence in said


def test_a_drift_is_in_what_the_naive_forecasts_see(tmp_path: Path, visitors: Path):
    proposal = question.look(visitors, asking.FileHints(), lambda columns: next(iter(columns.usable)))
    training = proposal.definition.training.model_copy(update={"units": (16,), "networks": 1, "epochs": 2})
    stream: StreamDefinition = proposal.definition.model_copy(update={"training": training, "horizon": (1,)})
    done = question.run(
        stream,
        visitors,
        records=400,
        drift="noise",
        magnitude=500.0,
        seed=0,
        report=tmp_path / "pictures",
        console=Console(file=io.StringIO()),
    )
    errors = done.answer.horizons[0].rmse
    # Yesterday and last week are as noisy as the last value: they are no look at the undrifted file.
    assert errors["yesterday"] > 0.7 * errors["persistence"] > 50


KNOWING = """name: known
time: {column: time, period: 1h}
key: id
group: site
target: y
futures: {plan: level}
horizon: [1, 3]
window: 100
training: {units: [16], networks: 1, steps: 600, dropout: 0}
"""


def test_what_is_known_ahead_is_learned_from_and_sent_as_it_was_issued(tmp_path: Path):
    y = np.random.default_rng(5).normal(size=804).cumsum()
    times = [f"{START + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ}" for n in range(804)]
    stream, records, plans = (tmp_path / name for name in ("known.yaml", "records.csv", "plans.csv"))
    stream.write_text(KNOWING)
    records.write_bytes(csv("time,id,site,y", [(t, "k", "s", value) for t, value in zip(times[:800], y, strict=False)]))
    # The truth of the next hours, and a lie that was taken back an hour later.
    issued = [(times[n], times[n + h], "k", y[n + h]) for n in range(800) for h in range(4)]
    lies = [(times[n], times[n + 4], "k", -50) for n in range(800)]
    plans.write_bytes(csv("issued,time,id,plan", [*lies, *issued]))
    ask: list[str | Path] = [
        "--stream",
        stream,
        "--data",
        records,
        "--futures",
        plans,
        "--report",
        tmp_path / "pictures",
    ]
    code, said = backtest(*ask, "--json", tmp_path / "scores.json")
    assert code == 0, said
    given = msgspec.json.decode((tmp_path / "scores.json").read_bytes(), type=Answer)
    assert all(horizon.skill > 0.5 for horizon in given.horizons), given


def test_a_file_of_futures_needs_a_stream_that_has_some(tmp_path: Path, several: Path):
    (tmp_path / "a.yaml").write_text("name: a\ntime: {column: time, period: 1h}\ntarget: wet\n")
    code, said = backtest("--stream", tmp_path / "a.yaml", "--data", several, "--futures", several)
    assert code == 1
    assert "a.csv: found futures, expected none: stream 'a' has no `futures`" in said
