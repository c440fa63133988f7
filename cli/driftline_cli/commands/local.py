"""`driftline local`: the services as processes of this machine."""

import asyncio
import shlex
from pathlib import Path
from typing import Annotated

import typer

from driftline.names import SERVICES
from driftline_cli.commands.plainly import LAB, brought_by, console, plainly
from driftline_cli.places import RUN

app = typer.Typer(
    help="The services as processes of this machine, on a real Kafka, without Docker.", no_args_is_help=True
)
Folder = Annotated[Path, typer.Option(help="Where data, logs and process ids lie.")]
Streams = Annotated[Path, typer.Option(help="Folder of stream definitions.")]
STREAMS = Path("streams")


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


@app.command()
def up(
    folder: Folder = RUN,
    streams: Streams = STREAMS,
    port: Annotated[
        int | None,
        typer.Option(
            help="The first of six ports: the four services', Kafka's, the store's; else those that the folder had "
            "last, or 8001 to 8004, 9092 and 4566.",
            min=1,
            max=65530,
        ),
    ] = None,
) -> None:
    """Starts Kafka, a local S3 server and the four services, and returns when all are ready.

    Example: driftline local up --streams streams --port 9001
    """
    with plainly():
        from driftline_cli.stack import Ports, Stack, look_for_services  # noqa: PLC0415
        from driftline_cli.tokens import header_file  # noqa: PLC0415

        with brought_by(LAB):
            look_for_services()
        stack = Stack(folder, streams, ports=Ports.chosen(folder, port), token=True)
        with console.status("starting Kafka, the object store and four services"):
            asyncio.run(stack.up())
        for service in SERVICES:
            console.print(f"{service}: {stack.url(service)}/docs")
        console.print(f"logs: {folder}")
        console.print(f"what changes something needs the token: curl -H @{header_file(folder)}", soft_wrap=True)


@app.command()
def env(folder: Folder = RUN, streams: Streams = STREAMS) -> None:
    """Prints the variables with which `driftline` finds what `up` started.

    Example: eval "$(driftline local env)" && driftline doctor
    """
    with plainly():
        from driftline_cli.stack import Ports, Stack  # noqa: PLC0415

        for name, value in Stack(folder, streams, ports=Ports.of(folder)).environment().items():
            typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def down(folder: Folder = RUN, streams: Streams = STREAMS) -> None:
    """Ends what `up` or `kafka` started; the data stay.

    Example: driftline local down
    """
    with plainly():
        from driftline_cli.stack import Stack  # noqa: PLC0415

        Stack(folder, streams).down()
