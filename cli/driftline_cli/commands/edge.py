"""`driftline edge`: the edge as a process, how it joins a fleet or replaces another one, and who may."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from driftline_cli.commands import devices
from driftline_cli.commands.devices import Label
from driftline_cli.commands.plainly import brought_by, console, errors, plainly

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
DATA = Path(".run/edge")
EDGE = "driftline-edge[litert]"
"""What brings the services of an edge."""
STDIN = "-"


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
        asked = joining.Asked(url, given, name, devices.labels_of(label), replaces or edge_id, ca_file)
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


app.command("token")(devices.token)
app.command("tokens")(devices.tokens)
app.command("list")(devices.list_devices)
app.command("revoke")(devices.revoke)


def _data(folder: Path | None) -> Path:
    return folder or Path(os.environ.get("DRIFTLINE_DATA") or DATA)


def _read(token: str | None, file: Path | None) -> str | None:
    if file is not None:
        return file.read_text(encoding="ascii").strip() or None
    return (sys.stdin.readline() if token == STDIN else token or "").strip() or None
