"""`driftline edge`: the edge as a process, how it joins a fleet or replaces another one, and who may."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from driftline_cli.commands.options import TRAINER, AsJson, TrainerAt
from driftline_cli.commands.plainly import brought_by, console, errors, plainly, print_json

if TYPE_CHECKING:
    from driftline_client import AsyncClient
    from driftline_client.calls.devices import NewJoinToken

T = TypeVar("T")

app = typer.Typer(
    help="The edge as a process of this machine, and how it joins a fleet.",
    invoke_without_command=True,
    no_args_is_help=False,
)
DataFolder = Annotated[
    Path | None, typer.Option(help="Folder of all that it keeps; else DRIFTLINE_DATA, or `.run/edge`.")
]
StreamsFolder = Annotated[
    Path | None, typer.Option(help="Folder of stream definitions; else DRIFTLINE_STREAMS, or `streams`.")
]
Token = Annotated[
    str | None,
    typer.Option(envvar="DRIFTLINE_TOKEN", help="The trainer's token; for one that was started here it is known."),
]
Label = Annotated[
    list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="Such as site=north; may be repeated.")
]
DATA = Path(".run/edge")
EDGE = "driftline-edge[litert]"
"""What brings the services of an edge."""
STDIN = "-"
HOUR_S = 3600.0


def choose(folder: Path | None, streams: Path | None = None) -> None:
    """Sets what is given, for whatever reads the settings."""
    for name, given in {"DRIFTLINE_DATA": folder, "DRIFTLINE_STREAMS": streams}.items():
        if given is not None:
            os.environ[name] = str(given)


@app.callback()
def edge(
    context: typer.Context,
    folder: DataFolder = None,
    streams: StreamsFolder = None,
) -> None:
    """Runs ingest, inference and combiner in this process until it is interrupted; settings are DRIFTLINE_… variables.

    Example: driftline edge --folder /var/lib/driftline
    """
    choose(folder, streams)
    if context.invoked_subcommand is not None:
        return
    with plainly():
        with brought_by(EDGE):
            from driftline_edge.__main__ import main  # noqa: PLC0415
        main()


@app.command()
def join(
    url: Annotated[str, typer.Argument(envvar="DRIFTLINE_JOIN_URL", help="Address of the trainer: https://HOST.")],
    token: Annotated[
        str | None,
        typer.Argument(
            envvar="DRIFTLINE_JOIN_TOKEN",
            help="The join token; `-` reads it from standard input, since others can read a command line.",
        ),
    ] = None,
    *,
    token_file: Annotated[Path | None, typer.Option(help="File with the join token.")] = None,
    name: Annotated[
        str | None, typer.Option(envvar="DRIFTLINE_EDGE", help="Name of this edge for people; else the host's.")
    ] = None,
    label: Label = None,
    edge_id: Annotated[
        str | None, typer.Option("--id", help="The id that it has already; by default that of its data.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Certificates in PEM of the cloud's own authority.", exists=True)
    ] = None,
    replaces: Annotated[
        str | None,
        typer.Option(
            "--replace",
            metavar="OLD-ID",
            help="Id of the edge that is no more and whose place this device takes, with all that it had learned; the "
            "token was made with `--id OLD-ID --replaces`.",
        ),
    ] = None,
    folder: DataFolder = None,
    models: Annotated[bool, typer.Option(help="Whether models are fetched at once.")] = True,
) -> None:
    """Makes this device one of a fleet: `driftline edge` runs with the cloud's store, keys and definitions afterwards.

    Done again, it looks for what has changed, and needs no token.

    Example: driftline edge join https://cloud.example.org - < token.txt

    Example: driftline edge join https://cloud.example.org - --replace k3v9q2m1x8ab < token.txt
    """
    if replaces is not None and edge_id not in {None, replaces}:
        raise typer.BadParameter(f"found --id {edge_id} with --replace {replaces}, expected one of them")
    with plainly():
        from driftline_cli import joining  # noqa: PLC0415

        given = _read(token, token_file)
        has_data = replaces is not None and asyncio.run(joining.refuse_data_of_others(_data(folder), replaces))
        asked = joining.Asked(url, given, name, _labels(label), replaces or edge_id, ca_file)
        outcome = asyncio.run(joining.join(_data(folder), asked, models=models))
        console.print(f"this device is {outcome.joined.edge} ({outcome.joined.name}) of the fleet at {url}")
        if replaces is not None and not has_data:
            _take_over(_data(folder), replaces)
        for sentence in outcome.notes:
            errors.print(f"driftline: {sentence}", style="yellow", markup=False, soft_wrap=True)


@app.command()
def replace(
    old: Annotated[str, typer.Argument(help="The id of the edge that is no more.", metavar="OLD-ID")],
    folder: DataFolder = None,
    force: Annotated[  # noqa: FBT002
        bool, typer.Option("--force", help="Although the old edge reported a moment ago: it is off.")
    ] = False,
) -> None:
    """Has this new device go on as an edge that is no more: with its id, and what it left in the store of all that it
    had learned.

    The store and the fleet's key are those of DRIFTLINE_STORE and DRIFTLINE_FLEET_KEY_FILE. If it is interrupted,
    run it again.

    Example: driftline edge replace k3v9q2m1x8ab --folder /var/lib/driftline
    """
    with plainly():
        choose(folder)
        _print_taken_over(old, force=force)


def _take_over(data: Path, old: str) -> None:
    """The cloud has cut the old device off when this one joined: whether it still lives is no question any more."""
    from driftline_cli import joining  # noqa: PLC0415

    choose(data)
    try:
        _print_taken_over(old, force=True)
    finally:
        joining.give_to_owner(data)


def _print_taken_over(old: str, *, force: bool) -> None:
    with brought_by(EDGE):
        from driftline_cli import replacement  # noqa: PLC0415

    console.print(asyncio.run(replacement.take_over(old, force=force)), markup=False, soft_wrap=True)


@app.command()
def rotate(folder: DataFolder = None) -> None:
    """Has this device take another credential at once; it does so by itself every month.

    Example: driftline edge rotate
    """
    with plainly():
        from driftline_cli import joining  # noqa: PLC0415

        asyncio.run(joining.rotate(_data(folder)))
        console.print("this device shows another credential from now on")


@app.command()
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
        labels = _labels(label)

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


@app.command()
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


@app.command("list")
def list_edges(trainer: TrainerAt = TRAINER, trainer_token: Token = None, as_json: AsJson = False) -> None:  # noqa: FBT002
    """Lists the devices that have joined.

    Example: driftline edge list --trainer https://cloud.example.org:8443
    """
    with plainly():
        from driftline_cli import devices  # noqa: PLC0415

        listed = _ask(trainer, trainer_token, lambda client: client.devices())
        _show(listed, as_json, lambda: devices.devices_table(listed))


@app.command()
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


def _data(folder: Path | None) -> Path:
    return folder or Path(os.environ.get("DRIFTLINE_DATA") or DATA)


def _read(token: str | None, file: Path | None) -> str | None:
    if file is not None:
        return file.read_text(encoding="ascii").strip() or None
    return (sys.stdin.readline() if token == STDIN else token or "").strip() or None


def _labels(given: list[str] | None) -> dict[str, str]:
    from driftline.errors import InvalidInput  # noqa: PLC0415
    from driftline.fleet.labels import parse_pairs  # noqa: PLC0415

    try:
        return parse_pairs(given or ())
    except ValueError as error:
        raise InvalidInput(f"--label: {error}") from None
