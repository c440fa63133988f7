"""`driftline edge`: the edge as this process, and a device that replaces another."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from driftline_cli.commands.plainly import brought_by, console, plainly

app = typer.Typer(invoke_without_command=True)
EDGE = "driftline-edge[litert]"
"""What brings the services of an edge."""
DataFolder = Annotated[
    Path | None, typer.Option(help="Folder of all that it keeps; else DRIFTLINE_DATA, or `.run/edge`.")
]
StreamsFolder = Annotated[
    Path | None, typer.Option(help="Folder of stream definitions; else DRIFTLINE_STREAMS, or `streams`.")
]


def choose(folder: Path | None, streams: Path | None = None) -> None:
    """Sets what is given, for whatever reads the settings."""
    for name, given in {"DRIFTLINE_DATA": folder, "DRIFTLINE_STREAMS": streams}.items():
        if given is not None:
            os.environ[name] = str(given)


@app.callback()
def edge(context: typer.Context, folder: DataFolder = None, streams: StreamsFolder = None) -> None:
    """Runs ingest, inference and combiner in this process until it is interrupted; settings are DRIFTLINE_… variables.

    Example: driftline edge --folder /var/lib/driftline
    """
    with plainly():
        choose(folder, streams)
        if context.invoked_subcommand is not None:
            return
        with brought_by(EDGE):
            from driftline_edge.__main__ import main  # noqa: PLC0415
        main()


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
        with brought_by(EDGE):
            from driftline_cli import replacement  # noqa: PLC0415

        console.print(asyncio.run(replacement.take_over(old, force=force)), markup=False, soft_wrap=True)
