"""Of `driftline edge` what asks the trainer: which devices may join, and which have."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from driftline_cli.commands.options import TRAINER, AsJson, TrainerAt
from driftline_cli.commands.plainly import console, errors, plainly, print_json

if TYPE_CHECKING:
    from driftline_client import AsyncClient
    from driftline_client.calls.devices import NewJoinToken

T = TypeVar("T")
Token = Annotated[
    str | None,
    typer.Option(envvar="DRIFTLINE_TOKEN", help="The trainer's token; for one that was started here it is known."),
]
Label = Annotated[
    list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="Such as site=north; may be repeated.")
]
HOUR_S = 3600.0


def token(
    *,
    hours: Annotated[float, typer.Option(help="For so long it is good.", min=0.01, max=720)] = 24.0,
    edge_id: Annotated[str | None, typer.Option("--id", help="The id that the device must have.")] = None,
    replaces: Annotated[
        bool, typer.Option("--replaces", help="The device takes the place of the one that has this id.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="The device's name, whatever it says itself.")] = None,
    label: Label = None,
    trainer: TrainerAt = TRAINER,
    trainer_token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Makes a token with which one device joins the fleet, once. It is shown now and never again.

    Example: driftline edge token --name attic --label site=north
    """
    with plainly():
        labels = labels_of(label)

        async def make(client: "AsyncClient") -> "NewJoinToken":
            return await client.new_join_token(
                seconds=hours * HOUR_S, edge=edge_id, replaces=replaces, name=name, labels=labels
            )

        fresh = _ask(trainer, trainer_token, make)
        if as_json:
            print_json(fresh)
            return
        errors.print(f"good for one device and {hours:g} hours; `driftline edge tokens` lists it as {fresh.id}")
        typer.echo(fresh.token)


def tokens(
    forget: Annotated[str | None, typer.Option(help="Id of a token to take back.")] = None,
    trainer: TrainerAt = TRAINER,
    trainer_token: Token = None,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Lists the join tokens, or takes one back.

    Example: driftline edge tokens --forget 3f9a61c2d0b84e17
    """
    with plainly():
        from driftline_cli import devices  # noqa: PLC0415

        if forget is not None:
            _ask(trainer, trainer_token, lambda client: client.forget_join_token(forget))
            console.print(f"{forget} admits nobody any more")
            return
        listed = _ask(trainer, trainer_token, lambda client: client.join_tokens())
        _show(listed, as_json, lambda: devices.tokens_table(listed))


def list_devices(trainer: TrainerAt = TRAINER, trainer_token: Token = None, as_json: AsJson = False) -> None:  # noqa: FBT002
    """Lists the devices that have joined.

    Example: driftline edge list --trainer https://cloud.example.org:8443
    """
    with plainly():
        from driftline_cli import devices  # noqa: PLC0415

        listed = _ask(trainer, trainer_token, lambda client: client.devices())
        _show(listed, as_json, lambda: devices.devices_table(listed))


def revoke(
    edge_id: Annotated[str, typer.Argument(metavar="EDGE", help="Its id.")],
    trainer: TrainerAt = TRAINER,
    trainer_token: Token = None,
) -> None:
    """Cuts a device off within seconds, such as one that was stolen.

    Example: driftline edge revoke k3v9q1x7m2ab
    """
    with plainly():
        device = _ask(trainer, trainer_token, lambda client: client.revoke_device(edge_id))
        console.print(f"{device.edge} ({device.name}) is cut off")


def _ask(url: str, token: str | None, question: "Callable[[AsyncClient], Awaitable[T]]") -> T:
    """What the trainer answers. Raises ClientError."""
    from driftline_cli import devices  # noqa: PLC0415

    async def run() -> T:
        async with devices.client_of(url, token) as client:
            return await question(client)

    return asyncio.run(run())


def _show(listed: object, as_json: bool, table: Callable[[], object]) -> None:  # noqa: FBT001
    if as_json:
        print_json(listed)
    else:
        console.print(table())


def labels_of(given: list[str] | None) -> dict[str, str]:
    """Of options as they were typed. Raises InvalidInput."""
    from driftline.errors import InvalidInput  # noqa: PLC0415
    from driftline.fleet.labels import parse_pairs  # noqa: PLC0415

    try:
        return parse_pairs(given or ())
    except ValueError as error:
        raise InvalidInput(f"--label: {error}") from None
