"""`driftline replay`: a file's records to a running ingest."""

import asyncio
import math
from typing import Annotated

import typer

from driftline_cli.commands.options import INGEST, AsJson, DataFile, Drift, Seed, SourceDefined
from driftline_cli.commands.plainly import WRONG, console, errors, plainly, print_json


def replay(
    stream: SourceDefined,
    data: DataFile,
    to: Annotated[str, typer.Option(envvar="DRIFTLINE_INGEST", help="Address of ingest.")] = INGEST,
    rate: Annotated[float, typer.Option(help="Records a second at most.", min=0.001)] = math.inf,
    pace: Annotated[
        float | None, typer.Option(help="Times faster than recorded, instead of a rate.", min=0.001)
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Records at most.", min=1)] = None,
    drift: Drift = "none",
    seed: Seed = 0,
    token: Annotated[str | None, typer.Option(envvar="DRIFTLINE_TOKEN", help="Ingest's bearer token.")] = None,
    json: AsJson = False,  # noqa: FBT002
) -> None:
    """Sends a file to a running ingest, as fast as it takes it, at a rate, or at the recorded pace.

    The exit code is 1 when ingest refused any of the records.

    Example: driftline replay --stream streams/active-power.yaml --data data/la-haute-borne.parquet --rate 100

    Example: driftline replay --stream active-power --data data/la-haute-borne.parquet --pace 600
    """
    with plainly():
        from driftline_cli import chosen, drifts  # noqa: PLC0415
        from driftline_cli.progress import bars  # noqa: PLC0415
        from driftline_cli.read_file import read_file  # noqa: PLC0415
        from driftline_cli.replay import send  # noqa: PLC0415

        defined = chosen.sent(stream)
        # Ingest brings them onto the grid itself.
        rows = drifts.apply(drift, read_file(data, defined.without_grid).take(slice(0, limit)), defined, seed=seed)
        with bars(errors if json else console) as progress:
            receipt = asyncio.run(send(defined, rows, to, rate=rate, pace=pace, token=token, progress=progress))
    if json:
        print_json(receipt)
    else:
        console.print(
            f"{receipt.accepted:,} accepted, {receipt.repeated:,} repeated, {receipt.out_of_order:,} out of order, "
            f"{receipt.refused_total:,} refused"
        )
    if receipt.refused_total:
        raise typer.Exit(WRONG)
