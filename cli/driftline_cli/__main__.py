"""The command `driftline`. Every error is one sentence; the exit code is 1 when something is wrong, 2 for misuse."""

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
import stamina
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from driftline import definition, tables
from driftline.errors import DriftlineError
from driftline.ports import open_bus, open_store
from driftline.settings import Settings, read_settings
from driftline_cli import accuracy as accuracies
from driftline_cli import backtest as backtests
from driftline_cli import demo as demos
from driftline_cli import doctor as doctors
from driftline_cli import drifts, models, tailing
from driftline_cli import status as statuses
from driftline_cli import training as trainings
from driftline_cli.progress import bars
from driftline_cli.replay import Receipt
from driftline_cli.replay import replay as replayed
from driftline_cli.report import render
from driftline_cli.stack import SERVICES, Stack

app = typer.Typer(
    help="Driftline: forecasts sensor streams and keeps them right while the data drift.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console()

StreamFile = Annotated[Path, typer.Option(help="The stream definition.", exists=True, dir_okay=False)]
DataFile = Annotated[Path, typer.Option(help="A CSV or Parquet file with the definition's columns.")]
WATCH_S = 2.0


class Member(StrEnum):
    batch = "batch"
    speed = "speed"


class What(StrEnum):
    blends = "blends"
    alerts = "alerts"


Seed = Annotated[int, typer.Option(help="Seed of the drift.")]


@contextmanager
def plainly() -> Iterator[None]:
    """Says what is wrong in one sentence instead of a stack trace."""
    try:
        yield
    except DriftlineError as error:
        Console(stderr=True).print(f"driftline: {error}", style="red", markup=False)
        raise typer.Exit(1) from error


@app.callback()
def quiet() -> None:
    """Only what went wrong is logged between tables and bars."""
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s")
    stamina.instrumentation.set_on_retry_hooks([])


@app.command()
def demo(
    stream: StreamFile = Path("streams/outdoor-temperature.yaml"),
    data: DataFile = Path("data/la-haute-borne.parquet"),
    drift: Annotated[drifts.Kind, typer.Option(help="What happens to the data on the way.")] = "step",
    records: Annotated[int, typer.Option(help="Records to stream.", min=1)] = 30_000,
    seed: Seed = 0,
    report: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("demo-report"),
    keep: Annotated[bool, typer.Option("--keep", help="Go on serving afterwards.")] = False,  # noqa: FBT002
) -> None:
    """Trains on 2014, streams 2015 through all four services, and shows how well they did."""
    with plainly():
        defined = definition.load(stream)
        begin = int(datetime(2015, 1, 1, tzinfo=UTC).timestamp() * 1000)
        rows = tables.read_file(data, defined)
        plan = demos.plan(defined, rows, begin=begin, records=records, drift=drift, seed=seed, report=report)
        asyncio.run(demos.run(plan, console, keep=keep))


@app.command()
def backtest(
    stream: StreamFile,
    train: DataFile,
    test: DataFile,
    drift: Annotated[drifts.Kind, typer.Option(help="What happens to the test data.")] = "none",
    seed: Seed = 0,
    magnitude: Annotated[float | None, typer.Option(help="Size of the drift, in the target's units.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the scores here.")] = None,
) -> None:
    """Trains on one file, streams another through the services' own code, and scores every member and strategy.

    Example: driftline backtest --stream streams/outdoor-temperature.yaml --train 2014.parquet --test 2015.csv
    """
    with plainly():
        defined = definition.load(stream)
        history, rows = tables.read_file(train, defined), tables.read_file(test, defined)
        with bars(console) as progress:
            done = asyncio.run(
                backtests.backtest(
                    defined, history, rows, drift=drift, magnitude=magnitude, seed=seed, progress=progress
                )
            )
        console.print(render(done, defined.target))
        if json is not None:
            json.write_bytes(msgspec.json.format(msgspec.json.encode(done.report), indent=2))


@app.command()
def accuracy(
    streams: Annotated[Path, typer.Option(help="Folder of stream definitions.")] = Path("streams"),
    data: DataFile = Path("data/la-haute-borne.parquet"),
    part: Annotated[int, typer.Option(help="Records to stream with each drift.", min=3000)] = 50_000,
    to: Annotated[Path, typer.Option(help="The page that is written.")] = Path("docs/accuracy.md"),
) -> None:
    """Scores every member and strategy on every stream, horizon and drift, and writes the tables: half an hour."""
    with plainly():
        begin = int(datetime(2015, 1, 1, tzinfo=UTC).timestamp() * 1000)
        plan = accuracies.read_plan(list(definition.load_folder(streams).values()), data, begin, part)
        with bars(console) as progress:
            text = accuracies.render(accuracies.run(plan, progress), plan)
        to.write_text(text, encoding="utf-8")
        console.print(text, markup=False)


@app.command()
def replay(
    stream: StreamFile,
    data: DataFile,
    to: Annotated[str, typer.Option(help="Address of ingest.")] = "http://127.0.0.1:8001",
    rate: Annotated[float, typer.Option(help="Records a second at most.", min=0.001)] = math.inf,
    pace: Annotated[float | None, typer.Option(help="Times faster than recorded, instead of a rate.")] = None,
    limit: Annotated[int | None, typer.Option(help="Records at most.", min=1)] = None,
    drift: Annotated[drifts.Kind, typer.Option(help="What happens to the data on the way.")] = "none",
    seed: Seed = 0,
    token: Annotated[str | None, typer.Option(envvar="DRIFTLINE_TOKEN", help="Ingest's bearer token.")] = None,
) -> None:
    """Sends a file to a running ingest, as fast as it takes it, at a rate, or at the recorded pace.

    Example: driftline replay --stream streams/active-power.yaml --data data/la-haute-borne.parquet --rate 100
    """
    with plainly():
        defined = definition.load(stream)
        rows = drifts.apply(drift, tables.read_file(data, defined).take(slice(0, limit)), defined, seed=seed)
        receipt = asyncio.run(_replay(defined, rows, to, rate=rate, pace=pace, token=token))
    console.print(
        f"{receipt.accepted:,} accepted, {receipt.repeated:,} repeated, {receipt.out_of_order:,} out of order, "
        f"{receipt.refused_total:,} refused"
    )


async def _replay(
    stream: definition.StreamDefinition,
    rows: tables.Rows,
    to: str,
    *,
    rate: float,
    pace: float | None,
    token: str | None,
) -> Receipt:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    total, done = Receipt(), 0
    async with httpx.AsyncClient(base_url=to, headers=headers, timeout=30) as client:
        with bars(console) as progress:
            async for receipt in replayed(client, stream, rows, rate=rate, recorded_pace=pace):
                total += receipt
                done = total.accepted + total.repeated + total.out_of_order + total.refused_total
                progress("sending", done, len(rows))
    return total


Ingest = Annotated[str, typer.Option(help="Address of ingest.")]
Inference = Annotated[str, typer.Option(help="Address of inference.")]
Combiner = Annotated[str, typer.Option(help="Address of the combiner.")]
TrainerAt = Annotated[str, typer.Option(help="Address of the trainer.")]


@app.command()
def status(
    ingest: Ingest = "http://127.0.0.1:8001",
    inference: Inference = "http://127.0.0.1:8002",
    combiner: Combiner = "http://127.0.0.1:8003",
    trainer: TrainerAt = "http://127.0.0.1:8004",
    json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,  # noqa: FBT002
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds.")] = False,  # noqa: FBT002
) -> None:
    """Shows which services are ready, which models serve, and how well every member and strategy does.

    The exit code is 1 unless all four services are ready.

    Example: driftline status --watch
    """
    urls = {"ingest": ingest, "inference": inference, "combiner": combiner, "trainer": trainer}
    if watch:
        with suppress(KeyboardInterrupt), Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(statuses.render(asyncio.run(statuses.look(urls))), refresh=True)
                time.sleep(WATCH_S)
        return
    found = asyncio.run(statuses.look(urls))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        console.print(statuses.render(found))
    if not all(service.ready for service in found):
        raise typer.Exit(1)


@app.command()
def train(
    stream: StreamFile,
    history: Annotated[Path | None, typer.Option(help="A CSV or Parquet file; without it all that is stored.")] = None,
    member: Annotated[Member, typer.Option(help="Which model.")] = Member.batch,
    trainer: TrainerAt = "http://127.0.0.1:8004",
    token: Annotated[str | None, typer.Option(envvar="DRIFTLINE_TOKEN", help="The trainer's bearer token.")] = None,
) -> None:
    """Has a model trained: puts the history into the store, asks the trainer, and follows the job.

    The store is the one that DRIFTLINE_STORE names. The exit code is 1 unless the model was published.

    Example: driftline train --stream streams/outdoor-temperature.yaml --history data/la-haute-borne.parquet
    """
    with plainly():
        job = asyncio.run(_train(definition.load(stream), history, member.value, trainer, token))
        said = f"{job['version']}: {job['beaten']}" if job["state"] == "published" else job["reason"]
        console.print(f"{job['state']}: {said}", markup=False)
        if job["state"] != "published":
            raise typer.Exit(1)


async def _train(
    stream: definition.StreamDefinition, history: Path | None, member: str, url: str, token: str | None
) -> dict[str, Any]:
    key = None
    if history is not None:
        opened = open_store(read_settings(Settings))
        try:
            key = await trainings.upload(opened, stream, history)
        finally:
            await opened.close()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        job = await trainings.ask(client, stream.name, member, key)
        with console.status(f"job {job['id']}") as line:
            async for state in trainings.follow(client, job["id"]):
                line.update(f"job {state['id']}: {state['state']}")
                job = state
    return job


@app.command()
def tail(
    what: Annotated[What, typer.Argument(help="What to follow.")] = What.blends,
    stream: Annotated[str | None, typer.Option(help="Only this stream.")] = None,
    key: Annotated[str | None, typer.Option(help="Only this key.")] = None,
    earliest: Annotated[bool, typer.Option("--earliest", help="From the first that Kafka has.")] = False,  # noqa: FBT002
    limit: Annotated[int | None, typer.Option(help="End after so many.", min=1)] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as on the topic.")] = False,  # noqa: FBT002
) -> None:
    """Prints blends or alerts as they come; Kafka is where DRIFTLINE_BROKERS says.

    Example: driftline tail alerts --stream outdoor-temperature
    """
    with plainly(), suppress(KeyboardInterrupt):
        asyncio.run(_tail(what.value, stream, key, earliest=earliest, limit=limit, json=json))


async def _tail(
    what: str, stream: str | None, key: str | None, *, earliest: bool, limit: int | None, json: bool
) -> None:
    bus = open_bus(read_settings(Settings))
    try:
        told = 0
        async with aclosing(tailing.follow(bus, what, stream=stream, key=key, earliest=earliest)) as messages:
            async for message in messages:
                typer.echo(tailing.as_json(message) if json else tailing.line(message))
                told += 1
                if told == limit:
                    return
    finally:
        await bus.close()


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Make topics that are missing.")] = False,  # noqa: FBT002
    ingest: Ingest = "http://127.0.0.1:8001",
    inference: Inference = "http://127.0.0.1:8002",
    combiner: Combiner = "http://127.0.0.1:8003",
    trainer: TrainerAt = "http://127.0.0.1:8004",
) -> None:
    """Checks definitions, broker, topics, store, services, versions and clocks, and says what to mend.

    Broker and store are those of the DRIFTLINE_… variables. The exit code is 1 when something is wrong.

    Example: driftline doctor --fix
    """
    urls = {"ingest": ingest, "inference": inference, "combiner": combiner, "trainer": trainer}
    with plainly():
        found = asyncio.run(_examine(read_settings(Settings), urls, fix=fix))
    table = Table("what", "found", "remedy", title="Examined", title_justify="left")
    for finding in found:
        style = "" if finding.fine else "red"
        table.add_row(finding.what, finding.found, finding.remedy, style=style)
    console.print(table)
    if not all(finding.fine for finding in found):
        raise typer.Exit(1)


async def _examine(settings: Settings, urls: dict[str, str], *, fix: bool) -> list[doctors.Finding]:
    bus, store = open_bus(settings), open_store(settings)
    try:
        return [
            doctors.definitions(settings.streams),
            *await doctors.broker(bus, fix=fix),
            *await doctors.store(store, settings.store_endpoint or settings.store),
            *await doctors.services(urls),
        ]
    finally:
        await bus.close()
        await store.close()


app.add_typer(models.app, name="models")
local = typer.Typer(help="The services as processes of this machine, on a real Kafka, without Docker.")
app.add_typer(local, name="local")
Folder = Annotated[Path, typer.Option(help="Where data, logs and process ids lie.")]
Streams = Annotated[Path, typer.Option(help="Folder of stream definitions.")]


@local.command()
def kafka(folder: Folder = Path(".run"), streams: Streams = Path("streams")) -> None:
    """Starts Apache Kafka alone."""
    with plainly():
        stack = Stack(folder, streams)
        stack.start_kafka()
        console.print(f"Kafka: 127.0.0.1:{stack.ports.kafka}")


@local.command()
def up(folder: Folder = Path(".run"), streams: Streams = Path("streams")) -> None:
    """Starts Kafka, a local S3 server and the four services, and returns when all are ready."""
    with plainly():
        stack = Stack(folder, streams)
        with console.status("starting Kafka, the object store and four services"):
            asyncio.run(stack.up())
        for service in SERVICES:
            console.print(f"{service}: {stack.url(service)}/docs")
        console.print(f"logs: {folder}")


@local.command()
def down(folder: Folder = Path(".run"), streams: Streams = Path("streams")) -> None:
    """Ends what `up` or `kafka` started; the data stay."""
    Stack(folder, streams).down()


if __name__ == "__main__":
    app()
