"""`driftline check`: what would become of a file's rows."""

import time
from pathlib import Path
from typing import Annotated

import typer

from driftline_cli.commands.options import AsJson, SourceDefined
from driftline_cli.commands.plainly import WRONG, console, plainly, print_json


def check(
    file: Annotated[
        Path, typer.Argument(help="A file of CSV, JSON, Parquet or line protocol (.lp).", exists=True, dir_okay=False)
    ],
    stream: SourceDefined,
    json: AsJson = False,  # noqa: FBT002
) -> None:
    """Says what of a file would be taken, refused and missing, with line numbers, before anything is sent.

    The exit code is 1 when a row would be refused, or none taken.

    Example: driftline check export.csv --stream greenhouse

    Example: driftline check export.csv --stream streams/greenhouse.yaml --json | jq .refused
    """
    with plainly():
        from driftline.streams import tables  # noqa: PLC0415
        from driftline_cli import chosen, file_check  # noqa: PLC0415

        defined = chosen.sent(stream)
        result = file_check.check(tables.examine_file(file, defined, time.time()), defined)
        if json:
            print_json(result)
        else:
            for part in file_check.render(result):
                console.print(part, soft_wrap=True, highlight=False)
    if not result.fine:
        raise typer.Exit(WRONG)
