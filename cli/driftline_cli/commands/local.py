"""`driftline up` and `down`, and `driftline local`: the services as processes of this machine."""

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.names import SERVICES
from driftline_cli.commands.plainly import LAB, brought_by, console, plainly
from driftline_cli.places import RUN

if TYPE_CHECKING:
    from driftline_cli.edge_stack import EdgeStack
    from driftline_cli.stack import Ports

app = typer.Typer(
    help="The services as processes of this machine, on a real Kafka, without Docker.", no_args_is_help=True
)
Folder = Annotated[Path, typer.Option(help="Where data, logs and process ids lie.")]
Streams = Annotated[Path, typer.Option(help="Folder of stream definitions.")]
First = Annotated[
    int | None,
    typer.Option(
        help="The first of six ports: the four services', Kafka's, the store's; else those that the folder had "
        "last, or 8001 to 8004, 9092 and 4566.",
        min=1,
        max=65530,
    ),
]
STREAMS = Path("streams")


def up(
    folder: Folder = RUN,
    streams: Streams = STREAMS,
    port: First = None,
    kafka: Annotated[  # noqa: FBT002
        bool, typer.Option("--kafka", help="On Kafka and an S3 server, the four services as processes.")
    ] = False,
) -> None:
    """Starts the edge as one process and the trainer as another, over a folder, and returns when both are ready.

    Example: driftline up --streams streams --port 9001
    """
    if kafka:
        local_up(folder, streams, port)
        return
    with plainly():
        from driftline_cli.edge_stack import PROCESSES, EdgeStack  # noqa: PLC0415
        from driftline_cli.stack import Ports, look_for  # noqa: PLC0415

        with brought_by(LAB):
            look_for(PROCESSES)
        stack = EdgeStack(folder, streams, ports=Ports.chosen(folder, port))
        asyncio.run(_start(stack))
        _say_where(stack.ports, folder)


async def _start(stack: "EdgeStack") -> None:
    """Says that the edge is ready as soon as it is: it needs no trainer."""
    with console.status("starting the edge"):
        await stack.start_edge()
    console.print(f"the edge takes records: {stack.url('ingest')}")
    with console.status("starting the trainer"):
        await stack.start_trainer()


def _say_where(ports: "Ports", folder: Path) -> None:
    from driftline_cli.tokens import header_file  # noqa: PLC0415

    console.print(f"dashboard: {ports.url('combiner')}/")
    for service in SERVICES:
        console.print(f"{service}: {ports.url(service)}/docs")
    console.print(f"logs: {folder}")
    console.print(f"what changes something needs the token: curl -H @{header_file(folder)}", soft_wrap=True)


@app.command()
def kafka(folder: Folder = RUN, streams: Streams = STREAMS) -> None:
    """Starts Apache Kafka alone.

    Example: driftline local kafka --folder /tmp/kafka
    """
    with plainly():
        from driftline_cli.stack import Stack  # noqa: PLC0415

        stack = Stack(folder, streams)
        stack.start_kafka()
        console.print(f"Kafka: 127.0.0.1:{stack.ports.kafka}")


@app.command("up")
def local_up(folder: Folder = RUN, streams: Streams = STREAMS, port: First = None) -> None:
    """Starts Kafka, a local S3 server and the four services, and returns when all are ready.

    Example: driftline local up --streams streams --port 9001
    """
    with plainly():
        from driftline_cli.stack import Ports, Stack, look_for  # noqa: PLC0415

        with brought_by(LAB):
            look_for()
        stack = Stack(folder, streams, ports=Ports.chosen(folder, port), token=True)
        with console.status("starting Kafka, the object store and four services"):
            asyncio.run(stack.up())
        _say_where(stack.ports, folder)


@app.command()
def env(folder: Folder = RUN, streams: Streams = STREAMS) -> None:
    """Prints the variables with which `driftline` finds what `up` started.

    Example: eval "$(driftline local env)" && driftline doctor
    """
    with plainly():
        from driftline_cli.edge_stack import of_folder  # noqa: PLC0415
        from driftline_cli.stack import Ports, Stack  # noqa: PLC0415

        stack = of_folder(folder, streams) or Stack(folder, streams, ports=Ports.of(folder))
        for name, value in stack.environment().items():
            typer.echo(f"export {name}={shlex.quote(value)}")


def down(folder: Folder = RUN) -> None:
    """Ends what `driftline up` started; the data stay.

    Example: driftline down
    """
    local_down(folder)


@app.command("down")
def local_down(folder: Folder = RUN, streams: Streams = STREAMS) -> None:
    """Ends what `up` or `kafka` started; the data stay.

    Example: driftline local down
    """
    with plainly():
        from driftline_cli.stack import Stack  # noqa: PLC0415

        Stack(folder, streams).down()
