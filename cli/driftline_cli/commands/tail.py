"""`driftline tail`: blends or alerts as they come."""

import asyncio
from contextlib import aclosing
from enum import StrEnum
from typing import Annotated

import typer

from driftline.service.ports import open_bus
from driftline.service.settings import Settings, read_settings
from driftline_cli import tailing
from driftline_cli.commands.plainly import plainly


class What(StrEnum):
    blends = "blends"
    alerts = "alerts"


def tail(
    what: Annotated[What, typer.Argument(help="Messages to follow.")] = What.blends,
    stream: Annotated[str | None, typer.Option(help="Only this stream.")] = None,
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
