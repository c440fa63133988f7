"""`driftline tail`: blends or alerts as they come."""

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from driftline_cli.commands.options import OnlyStream
from driftline_cli.commands.plainly import errors, plainly


class What(StrEnum):
    blends = "blends"
    alerts = "alerts"


def tail(
    what: Annotated[What, typer.Argument(help="Messages to follow.")] = What.blends,
    stream: OnlyStream = None,
    key: Annotated[str | None, typer.Option(help="Only this key.")] = None,
    earliest: Annotated[bool, typer.Option("--earliest", help="From the first that Kafka has.")] = False,  # noqa: FBT002
    limit: Annotated[int | None, typer.Option(help="End after so many.", min=1)] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as on the topic.")] = False,  # noqa: FBT002
) -> None:
    """Prints blends or alerts as they come; Kafka is where DRIFTLINE_BROKERS says.

    Example: driftline tail alerts --stream outdoor-temperature

    Example: driftline tail blends --key R80711 --json | jq .value
    """
    with plainly():
        from driftline_cli import chosen, tailing  # noqa: PLC0415

        said = tailing.as_json if json else tailing.line
        wanted = tailing.Selection(what.value, chosen.named(stream), key)
        asyncio.run(
            tailing.show_messages(
                wanted,
                lambda message: typer.echo(said(message)),
                lambda remark: errors.print(remark, style="dim", markup=False, soft_wrap=True),
                earliest=earliest,
                limit=limit,
            )
        )
