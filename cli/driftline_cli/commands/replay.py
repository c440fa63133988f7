"""`driftline replay`: a file's records to a running ingest."""

import asyncio
import math
from typing import Annotated

import typer

from driftline_cli.commands.options import INGEST, DataFile, Drift, Seed, StreamFile
from driftline_cli.commands.plainly import WRONG, console, plainly


def replay(
    stream: StreamFile,
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
) -> None:
    """Sends a file to a running ingest, as fast as it takes it, at a rate, or at the recorded pace.

    The exit code is 1 when ingest refused any of the records.

    Example: driftline replay --stream streams/active-power.yaml --data data/la-haute-borne.parquet --rate 100

    Example: driftline replay --stream streams/active-power.yaml --data data/la-haute-borne.parquet --pace 600
    """
    with plainly():
        from driftline import definition, tables  # noqa: PLC0415
        from driftline_cli import drifts  # noqa: PLC0415
        from driftline_cli.progress import bars  # noqa: PLC0415
        from driftline_cli.replay import send  # noqa: PLC0415

        defined = definition.load(stream)
        rows = drifts.apply(drift, tables.read_file(data, defined).take(slice(0, limit)), defined, seed=seed)
        with bars(console) as progress:
            receipt = asyncio.run(send(defined, rows, to, rate=rate, pace=pace, token=token, progress=progress))
    console.print(
        f"{receipt.accepted:,} accepted, {receipt.repeated:,} repeated, {receipt.out_of_order:,} out of order, "
        f"{receipt.refused_total:,} refused"
    )
    if receipt.refused_total:
        raise typer.Exit(WRONG)
