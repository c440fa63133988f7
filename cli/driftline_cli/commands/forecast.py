"""`driftline forecast`: the next values of one series, or of all series of a stream."""

import asyncio
from typing import Annotated

import typer

from driftline_cli.commands.options import COMBINER, AsJson, Combiner
from driftline_cli.commands.plainly import console, plainly, print_json


def forecast(
    stream: Annotated[str, typer.Argument(help="The stream's name, or its definition's file.", metavar="STREAM")],
    key: Annotated[str | None, typer.Argument(help="A series of it; without it all.", metavar="KEY")] = None,
    horizon: Annotated[list[int] | None, typer.Option(help="Only so many steps ahead. Several are all shown.")] = None,
    at: Annotated[
        str | None, typer.Option(help="As it was issued then or last before: 2026-01-01T06:00:00Z, or milliseconds.")
    ] = None,
    combiner: Combiner = COMBINER,
    json: AsJson = False,  # noqa: FBT002
) -> None:
    """Shows the next values: when in local time, how much in the definition's unit, and between which ends.

    The combiner answers, with the newest blend that it has or, with --at, with one that it remembers. Times ahead count
    from the newest record.

    Example: driftline forecast outdoor-temperature R80711

    Example: driftline forecast outdoor-temperature --horizon 6 --json | jq '.[] | [.key, .forecasts[0].value]'
    """
    with plainly():
        from driftline_cli import chosen, forecast_view  # noqa: PLC0415
        from driftline_client import NextValues  # noqa: PLC0415

        name = chosen.named(stream) or stream
        body: NextValues | list[NextValues]
        if key is not None:
            body = asyncio.run(forecast_view.one_series(combiner, name, key, horizon or [], at))
        else:
            body = asyncio.run(forecast_view.all_series(combiner, name, horizon or [], at))
        if json:
            print_json(body)
        else:
            console.print(forecast_view.screen(body), highlight=False)
