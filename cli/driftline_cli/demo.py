"""The demo: the whole chain on two years of real turbines, with a drift, and a report at its end."""

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from rich.console import Console

from driftline.errors import InvalidInput
from driftline.files import replace_file
from driftline.names import SERVICES, local_url
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows, concatenate
from driftline_cli import drifts
from driftline_cli.backtest import Run, drive
from driftline_cli.chain import running_chain
from driftline_cli.demo_report import demo_report
from driftline_cli.drift_kinds import Kind
from driftline_cli.evaluate import outcome
from driftline_cli.html_report import render_html
from driftline_cli.progress import bars
from driftline_cli.report import render

HORIZON = (1, 6, 36)
"""Records ahead that the demo forecasts: near by hardly anything beats the last value, far ahead much does."""


@dataclass(frozen=True)
class DemoPlan:
    """What a demo does. Times in milliseconds since the epoch; the history ends where the replay begins."""

    stream: StreamDefinition
    history: Rows
    replay: Rows
    drift: Kind
    seed: int
    report: Path


def plan(
    stream: StreamDefinition, data: Rows, *, begin: int, records: int, drift: Kind, seed: int, report: Path
) -> DemoPlan:
    """Splits `data` at `begin`: the history before it, and `records` rows of it that are streamed. Raises InvalidInput
    where one of them is empty."""
    history, later = data.take(data.t < begin), data.take(data.t >= begin).take(slice(0, records))
    if not len(history) or not len(later):
        day = datetime.fromtimestamp(begin / 1000, UTC).date()
        raise InvalidInput(f"found {len(history):,} records before {day} and {len(later):,} later, expected both")
    replay = drifts.apply(drift, later, stream, history=history, seed=seed)
    return DemoPlan(stream, history, replay, drift, seed, report)


async def run(plan: DemoPlan, console: Console, port: int | None) -> Run:
    """Runs the plan, prints the table and writes the report. With a `port`, that of the first service, it goes on
    serving until it is interrupted."""
    with tempfile.TemporaryDirectory(prefix="driftline-demo-") as folder:
        ports = ports_from(port)
        services = {name: f"http://127.0.0.1:{service_port}" for name, service_port in ports.items()} or None
        async with running_chain({plan.stream.name: plan.stream}, Path(folder), page_services=services) as chain:
            with bars(console) as progress:
                progress("reading two years of four turbines", 1, 1)
                done = await drive(
                    chain, plan.stream, plan.history, plan.replay, drift=plan.drift, seed=plan.seed, progress=progress
                )
            console.print(render(done, plan.stream))
            page = await asyncio.to_thread(write_report, plan, done)
            console.print(f"report: {page}", markup=False, soft_wrap=True)
            if ports:
                await _serve(chain.apps, ports, console)
            else:
                console.print(f"dashboard: `make demo KEEP=1` serves it at {local_url('combiner')}/", soft_wrap=True)
            return done


def ports_from(port: int | None) -> dict[str, int]:
    """By service its port, the first one's given; none without it."""
    return {} if port is None else {name: port + further for further, name in enumerate(SERVICES)}


def write_report(plan: DemoPlan, done: Run) -> Path:
    """Draws the pictures and writes the page that holds them; returns the page's path."""
    drifted = drifts.marks(plan.drift, plan.replay.t)
    pictures = {path.name: path.read_bytes() for path in _draw(plan, done, drifted)}
    report = demo_report(done, plan.stream, plan.drift, drifted, len(plan.history), pictures)
    page = plan.report / "index.html"
    replace_file(page, render_html(report).encode(), mode=0o644)
    return page


def _draw(plan: DemoPlan, done: Run, drifted: list[int]) -> list[Path]:
    from driftline_cli.plots import Marks, draw  # noqa: PLC0415 - Matplotlib is half of the command's start

    stream = plan.stream
    # Drawn is what is forecast furthest: there the members differ most.
    scored = outcome(done.collected.blends, len(stream.horizon) - 1, stream)
    marks = Marks(
        drifts=drifted,
        alerts=[alert.t for alert in done.collected.alerts if alert.kind == "drift"],
        swaps=[swap.t for swap in done.swaps if swap.t],
    )
    return draw(plan.report, scored, done.collected.blends, marks, stream)


async def _serve(apps: Mapping[str, FastAPI], ports: Mapping[str, int], console: Console) -> None:
    """The four services behind their own ports, on this machine only. Their workers run already."""
    servers = []
    for name, app in apps.items():
        config = uvicorn.Config(app, host="127.0.0.1", port=ports[name], lifespan="off", log_level="warning")
        servers.append(uvicorn.Server(config))
        console.print(f"{name}: http://127.0.0.1:{ports[name]}/docs")
    console.print(f"dashboard: http://127.0.0.1:{ports['combiner']}/")
    console.print("serving; Ctrl-C ends it")
    await asyncio.gather(*(server.serve() for server in servers))


def joined(parts: list[Rows]) -> Rows:
    """Several tables as one, in order of time."""
    rows = concatenate(parts)
    return rows.take(rows.t.argsort(kind="stable"))
