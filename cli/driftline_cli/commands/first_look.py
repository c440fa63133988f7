"""`driftline from`: a definition for what somebody sends."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from driftline_cli.commands.plainly import console, errors, plainly


def propose_from(
    source: Annotated[
        str,
        typer.Argument(
            metavar="mqtt://HOST/TOPICS|http://HOST:PORT/influx|FILE",
            help="A broker with a filter of topics, an address of this machine for Telegraf, or a file.",
        ),
    ],
    target: Annotated[str | None, typer.Option(help="The column to forecast; asked for where it is missing.")] = None,
    key: Annotated[str | None, typer.Option(help="The column that names the series.")] = None,
    zone: Annotated[str | None, typer.Option(help="The zone of times that carry none, such as Europe/Paris.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the definition here.", dir_okay=False)] = None,
    seconds: Annotated[float, typer.Option(help="To listen.", min=0.1)] = 60.0,
) -> None:
    """Proposes a definition: listens to a broker or for Telegraf for a minute, or looks at a file.

    A file is CSV, JSON, Parquet or line protocol (.lp). Shows what was seen, and ten rows as they would be taken. An
    output that exists is never overwritten unasked.

    Example: driftline from mqtt://localhost/zigbee2mqtt/+ --target temperature --output streams/rooms.yaml

    Example: driftline from http://127.0.0.1:8086/influx --target temperature

    Example: driftline from export.csv --zone Europe/Berlin
    """
    with plainly():
        from driftline_cli import asking, first_look  # noqa: PLC0415

        hints = asking.FileHints(target, zone, key)
        say = partial(errors.print, markup=False, highlight=False, soft_wrap=True)
        looked = first_look.look(source, hints, asking.ask_target, seconds, say)
        first_look.render(looked, console)
        if output is not None:
            first_look.write(looked.proposal, output, at_terminal=sys.stdin.isatty())
            console.print(f"definition: {output}", markup=False, soft_wrap=True)
