"""`driftline tail`: blends or alerts as they come."""

import asyncio
import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from driftline_cli.commands.options import COMBINER, OnlyStream
from driftline_cli.commands.plainly import errors, plainly

if TYPE_CHECKING:
    from driftline.messages import Alert, Blend


class What(StrEnum):
    blends = "blends"
    alerts = "alerts"


def tail(
    what: Annotated[What, typer.Argument(help="Messages to follow.")] = What.blends,
    stream: OnlyStream = None,
    key: Annotated[str | None, typer.Option(help="Only this key.")] = None,
    earliest: Annotated[bool, typer.Option("--earliest", help="From the first that there is.")] = False,  # noqa: FBT002
    limit: Annotated[int | None, typer.Option(help="End after so many.", min=1)] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as on the topic.")] = False,  # noqa: FBT002
) -> None:
    """Prints blends or alerts as they come, from Kafka where DRIFTLINE_BROKERS says, else from the edge that runs here.

    Example: driftline tail alerts --stream outdoor-temperature

    Example: driftline tail blends --key R80711 --json | jq .value
    """
    with plainly():
        from driftline_cli import chosen, edge_stack, live, tailing  # noqa: PLC0415

        said = tailing.as_json if json else tailing.line
        wanted = tailing.Selection(what.value, chosen.named(stream), key)

        def show(message: "Blend | Alert") -> None:
            typer.echo(said(message))

        edge_stack.look_here()
        if edge_stack.is_embedded():
            messages = live.follow(os.environ.get("DRIFTLINE_COMBINER") or COMBINER, wanted, earliest=earliest)
            asyncio.run(tailing.show_messages(messages, show, limit))
            return
        asyncio.run(tailing.show_of_kafka(wanted, show, _remark, earliest=earliest, limit=limit))


def _remark(words: str) -> None:
    errors.print(words, style="dim", markup=False, soft_wrap=True)
