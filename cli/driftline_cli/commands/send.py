"""`driftline send`: records that come line by line to a running ingest."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from driftline_cli.commands.options import INGEST
from driftline_cli.commands.plainly import WRONG, console, errors, plainly

PATIENCE_S = 60.0
"""How long a batch is tried again while ingest can't take it; sending twice is harmless."""


def send(
    source: Annotated[str, typer.Argument(metavar="FILE", help="CSV or NDJSON by the line; - is standard input.")],
    stream: Annotated[str, typer.Option(help="Name of a stream or source, or its definition's file.")],
    to: Annotated[str, typer.Option(envvar="DRIFTLINE_INGEST", help="Address of ingest.")] = INGEST,
    token: Annotated[str | None, typer.Option(envvar="DRIFTLINE_TOKEN", help="Ingest's bearer token.")] = None,
) -> None:
    """Sends records as they come: each line soon, and as many at once as wait. Ends with a count.

    Columns are those that devices send. A line that is no record is shown with its number, and the rest goes on; then
    the exit code is 1. While ingest can't take more, no more is read.

    Example: tail -n +1 -f readings.csv | driftline send - --stream outdoor-temperature

    Example: driftline send readings.ndjson --stream outdoor-temperature
    """
    with plainly():
        from driftline_cli import chosen, sending, tokens  # noqa: PLC0415
        from driftline_client import AsyncClient, SendReceipt  # noqa: PLC0415

        name = chosen.source(stream)

        def show(line: sending.BrokenLine) -> None:
            errors.print(str(line), style="red", markup=False, soft_wrap=True)

        async def run(lines: BinaryIO) -> SendReceipt:
            total = SendReceipt()
            async with AsyncClient(ingest=to, token=tokens.token_of(to, token), patience=PATIENCE_S) as client:
                async for receipt in sending.send(lines, client, name, show):
                    total += receipt
            return total

        with sys.stdin.buffer if source == "-" else Path(source).open("rb") as lines:
            total = asyncio.run(run(lines))
    console.print(
        f"{total.accepted:,} accepted, {total.repeated:,} repeated, {total.out_of_order:,} out of order, "
        f"{total.refused_total:,} refused"
    )
    if total.refused_total:
        raise typer.Exit(WRONG)
