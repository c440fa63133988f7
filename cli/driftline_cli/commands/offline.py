"""`driftline demo`, `backtest` and `accuracy`: the services' own code in one process, over files."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from driftline.names import PORTS
from driftline_cli.commands.options import DEFINED, DataFile, Drift, MaybeFile, Seed, StreamDefined
from driftline_cli.commands.plainly import LAB, as_json, brought_by, console, plainly
from driftline_cli.drift_kinds import Kind

BEGIN = int(datetime(2015, 1, 1, tzinfo=UTC).timestamp() * 1000)
"""What is before is learned from, what is after is streamed; milliseconds since the epoch."""


def demo(
    stream: StreamDefined = "streams/outdoor-temperature.yaml",
    data: DataFile = Path("data/la-haute-borne.parquet"),
    drift: Drift = "step",
    records: Annotated[int, typer.Option(help="Records to stream.", min=1)] = 18_000,
    seed: Seed = 0,
    report: Annotated[Path, typer.Option(help="Folder for the report, index.html, and its pictures.")] = Path(
        "demo-report"
    ),
    keep: Annotated[bool, typer.Option("--keep", help="Go on serving afterwards.")] = False,  # noqa: FBT002
    port: Annotated[
        int,
        typer.Option(help="With --keep: ingest's port; the others get the three behind it.", min=1, max=65532),
    ] = PORTS["ingest"],
) -> None:
    """Trains on 2014, streams 2015 through all four services, and scores the forecasts 1, 6 and 36 records ahead.

    Example: driftline demo --drift gradual --records 10000 --keep --port 9001
    """
    with plainly():
        with brought_by(LAB):
            from driftline_cli import chosen  # noqa: PLC0415
            from driftline_cli import demo as demos  # noqa: PLC0415
            from driftline_cli.read_file import read_file  # noqa: PLC0415

        defined = chosen.defined(stream).model_copy(update={"horizon": demos.HORIZON})
        rows = read_file(data, defined)
        plan = demos.plan(defined, rows, begin=BEGIN, records=records, drift=drift, seed=seed, report=report)
        asyncio.run(demos.run(plan, console, port if keep else None))


def backtest(
    stream: Annotated[str | None, typer.Option(metavar="STREAM", help=DEFINED)] = None,
    train: MaybeFile = None,
    test: MaybeFile = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Instead of --train and --test: one file, which is split.", exists=True, dir_okay=False),
    ] = None,
    futures: Annotated[
        Path | None,
        typer.Option(help="With --stream: a file of what was known ahead, with `issued`.", exists=True, dir_okay=False),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Without --stream: the column to forecast.")] = None,
    key: Annotated[str | None, typer.Option(help="Without --stream: the column that names the series.")] = None,
    zone: Annotated[
        str | None, typer.Option(help="Without --stream: the zone of times that carry none, such as Europe/Paris.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Without --stream: write the proposed definition here.")] = None,
    records: Annotated[int, typer.Option(help="With --data: records to stream at most.", min=100)] = 20_000,
    report: Annotated[
        Path, typer.Option(help="With --data: folder for the report, index.html, and its pictures.")
    ] = Path("backtest-report"),
    drift: Drift = "none",
    seed: Seed = 0,
    magnitude: Annotated[float | None, typer.Option(help="Size of the drift, in the target's units.")] = None,
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="all|KEY,KEY", help="With --stream, --train and --test: each of these series by itself, at once."
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the scores here.")] = None,
) -> None:
    """Would forecasting help? Looks at a file, proposes a definition, and compares forecasts with the naive ones.

    With --stream, --train and --test: trains on one file, streams another through the services' own code, and scores
    every member and strategy. DRIFTLINE_TRAIN_ON=ray://HOST:PORT has --keys run on a Ray cluster.

    Example: driftline backtest --data greenhouse.csv --target temperature --save streams/greenhouse.yaml

    Example: driftline backtest --stream streams/outdoor-temperature.yaml --train 2014.parquet --test 2015.csv
    """
    if data is not None:
        _only_with(train=train is None, test=test is None, keys=keys is None)
        if stream is not None:
            _only_with(target=target is None, key=key is None, zone=zone is None, save=save is None)
        else:
            _only_with(futures=futures is None)
        _ask(data, futures, stream, (target, zone, key), save, records, report, drift, magnitude, seed, json)
    elif stream is None or train is None or test is None:
        raise typer.BadParameter("found neither a file to look at (--data) nor all of --stream, --train and --test")
    else:
        _only_with(target=target is None, key=key is None, zone=zone is None, save=save is None)
        if keys is None:
            _compare(stream, train, test, futures, drift, magnitude, seed, json)
        else:
            _compare_keys(stream, train, test, futures, keys, drift, magnitude, seed, json)


def _only_with(**unused: bool) -> None:
    wrong = [f"--{name}" for name, absent in unused.items() if not absent]
    if wrong:
        raise typer.BadParameter(f"found {', '.join(wrong)}, which this form of the command does not take")


def _ask(
    data: Path,
    futures: Path | None,
    stream: str | None,
    hints: tuple[str | None, str | None, str | None],
    save: Path | None,
    records: int,
    report: Path,
    drift: Kind,
    magnitude: float | None,
    seed: int,
    json: Path | None,
) -> None:
    with plainly():
        with brought_by(LAB):
            from driftline_cli import asking, chosen, question  # noqa: PLC0415

        if stream is not None:
            defined = chosen.defined(stream)
        else:
            defined = question.proposed(data, asking.FileHints(*hints), save, console)
        done = question.run(
            defined,
            data,
            futures=futures,
            records=records,
            drift=drift,
            magnitude=magnitude,
            seed=seed,
            report=report,
            console=console,
        )
        if json is not None:
            json.write_text(as_json(done.answer), encoding="utf-8")


def _compare(
    stream: str,
    train: Path,
    test: Path,
    futures: Path | None,
    drift: Kind,
    magnitude: float | None,
    seed: int,
    json: Path | None,
) -> None:
    with plainly():
        with brought_by(LAB):
            from driftline_cli import backtest as backtests  # noqa: PLC0415
            from driftline_cli import chosen  # noqa: PLC0415
            from driftline_cli.progress import bars  # noqa: PLC0415
            from driftline_cli.read_file import read_file  # noqa: PLC0415
            from driftline_cli.report import render  # noqa: PLC0415

        defined = chosen.defined(stream)
        history, rows = (read_file(path, defined, futures) for path in (train, test))
        with bars(console) as progress:
            done = asyncio.run(
                backtests.backtest(
                    defined, history, rows, drift=drift, magnitude=magnitude, seed=seed, progress=progress
                )
            )
        console.print(render(done, defined))
        if json is not None:
            json.write_text(as_json(done.report), encoding="utf-8")


def _compare_keys(
    stream: str,
    train: Path,
    test: Path,
    futures: Path | None,
    keys: str,
    drift: Kind,
    magnitude: float | None,
    seed: int,
    json: Path | None,
) -> None:
    with plainly():
        with brought_by(LAB):
            from driftline_cli import by_key, chosen  # noqa: PLC0415
            from driftline_cli.progress import bars  # noqa: PLC0415
            from driftline_cli.read_file import read_file  # noqa: PLC0415

        defined = chosen.defined(stream)
        history, rows = (read_file(path, defined, futures) for path in (train, test))
        names = by_key.keys_of(keys, rows)
        with bars(console) as progress:
            reports = by_key.run(
                defined,
                history,
                rows,
                names,
                drift=drift,
                magnitude=magnitude,
                seed=seed,
                workers=os.cpu_count() or 1,
                done=lambda done, total: progress("series", done, total),
            )
        console.print(by_key.table(reports, defined))
        if json is not None:
            json.write_text(as_json(reports), encoding="utf-8")


def accuracy(
    streams: Annotated[Path, typer.Option(help="Folder of stream definitions.")] = Path("streams"),
    data: DataFile = Path("data/la-haute-borne.parquet"),
    part: Annotated[int, typer.Option(help="Records to stream with each drift.", min=3000)] = 50_000,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A stream to measure, by default all; may be repeated.")
    ] = None,
    drift: Annotated[bool, typer.Option("--drift/--no-drift", help="With every drift, too.")] = True,  # noqa: FBT002
    cache: Annotated[
        Path | None, typer.Option(help="Folder that downloads are kept in.", show_default="~/.cache/driftline")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Streams at once; by default one a processor.", min=1)] = None,
    to: Annotated[Path, typer.Option(help="The page that is written.")] = Path("docs/accuracy.md"),
) -> None:
    """Scores every member and strategy on every stream, horizon and drift, compares the blend with others, and writes
    the tables: most of an hour. Downloads load profiles; needs LightGBM.

    Example: driftline accuracy --only commercial-general --no-drift --to /tmp/accuracy.md
    """
    with plainly():
        with brought_by(LAB):
            from driftline.streams import definition_files  # noqa: PLC0415
            from driftline_cli import accuracy as accuracies  # noqa: PLC0415
            from driftline_cli import accuracy_page, simbench  # noqa: PLC0415
            from driftline_cli.progress import bars  # noqa: PLC0415
        with brought_by("lightgbm"):
            from driftline_cli import boosting  # noqa: PLC0415

        definitions = list(definition_files.load_folder(streams).values())
        kept = cache or simbench.cache_folder()
        plan = accuracies.read_plan(definitions, data, BEGIN, part, only=only or (), drift=drift, cache=kept)
        with bars(console) as progress:
            runs = accuracies.run(plan, boosting.fit, progress, workers=workers or os.cpu_count() or 1)
        text = accuracy_page.render(runs, plan)
        to.write_text(text, encoding="utf-8")
        console.print(text, markup=False)
