"""`driftline from`: a definition for what somebody sends."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from driftline_cli.commands.plainly import console, plainly


def propose_from(
    source: Annotated[
        str, typer.Argument(metavar="mqtt://HOST/TOPICS|FILE", help="A broker with a filter of topics, or a file.")
    ],
    target: Annotated[str | None, typer.Option(help="The column to forecast; asked for where it is missing.")] = None,
    key: Annotated[str | None, typer.Option(help="The column that names the series.")] = None,
    zone: Annotated[str | None, typer.Option(help="The zone of times that carry none, such as Europe/Paris.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the definition here.", dir_okay=False)] = None,
    seconds: Annotated[float, typer.Option(help="To listen to a broker.", min=0.1)] = 60.0,
) -> None:
    """Proposes a definition: listens to a broker for a minute, or looks at a CSV, JSON or Parquet file.

    Shows what was seen, and ten rows as they would be taken. A file that exists is never overwritten unasked.

    Example: driftline from mqtt://localhost/zigbee2mqtt/+ --target temperature --output streams/rooms.yaml

    Example: driftline from export.csv --zone Europe/Berlin
    """
    with plainly():
        from driftline_cli import asking, first_look  # noqa: PLC0415

        hints = asking.FileHints(target, zone, key)
        looked = first_look.look(source, hints, asking.ask_target, seconds)
        first_look.render(looked, console)
        if output is not None:
            first_look.write(looked.proposal, output, at_terminal=sys.stdin.isatty())
            console.print(f"definition: {output}", markup=False, soft_wrap=True)
