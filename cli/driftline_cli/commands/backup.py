"""`driftline backup` and `restore`: an edge in one file."""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from driftline_cli.commands.edge import EDGE, DataFolder, StreamsFolder, choose
from driftline_cli.commands.plainly import brought_by, console, plainly


def backup(
    file: Annotated[Path, typer.Argument(help="The file that is written.", dir_okay=False)],
    folder: DataFolder = None,
    streams: StreamsFolder = None,
) -> None:
    """Writes an edge that is stopped into one file: its id, its bus with all states, models, definitions, and settings
    without secrets.

    With DRIFTLINE_FLEET_KEY_FILE the file is sealed with the fleet's key. An object store in a folder is not in it.

    Example: driftline backup /media/usb/edge.backup --folder /var/lib/driftline
    """
    with plainly():
        choose(folder, streams)
        with brought_by(EDGE):
            from driftline_cli import backups  # noqa: PLC0415
            from driftline_edge.settings import read_all  # noqa: PLC0415

        settings = read_all()
        header = asyncio.run(backups.backup(settings, file))
        form = "sealed with the fleet's key" if settings.edge.fleet_key_file else "not sealed"
        console.print(
            f"{file}: the edge {header.edge}, {len(header.files)} files, {header.size:,} bytes, {form}",
            markup=False,
            soft_wrap=True,
        )
        if header.waiting:
            console.print(
                f"{header.waiting:,} records that are not forecast or not archived yet are not in it: only the broker "
                "has them, so keep its data until they are",
                markup=False,
                soft_wrap=True,
            )


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `driftline backup` wrote.", exists=True, dir_okay=False)],
    folder: DataFolder = None,
    streams: StreamsFolder = None,
) -> None:
    """Puts an edge from its file onto this or another device, which then is that edge: the two must never run at once.

    Definitions that are here already stay; the settings are written down for you to read. A backup of a former release
    is taken up as after an upgrade.

    Example: driftline restore /media/usb/edge.backup --folder /var/lib/driftline
    """
    with plainly():
        choose(folder, streams)
        with brought_by(EDGE):
            from driftline_cli import backups  # noqa: PLC0415
            from driftline_edge.settings import read_all  # noqa: PLC0415

        restored = asyncio.run(backups.restore(read_all(), file))
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(restored.header.at))
        console.print(f"this device is the edge {restored.header.edge} now, as of {when} UTC", markup=False)
        for name in restored.kept_definitions:
            console.print(f"the definition {name} differs from the backup's and stays as it is here", markup=False)
        console.print(f"the settings that it had: {restored.settings}", markup=False, soft_wrap=True)
