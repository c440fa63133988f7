"""`driftline replay`: a file's records to a running ingest."""

import asyncio
import math
from typing import Annotated

import httpx
import typer

from driftline.streams import definition, tables
from driftline_cli import drifts, tokens
from driftline_cli.commands.options import INGEST, DataFile, Seed, StreamFile
from driftline_cli.commands.plainly import WRONG, console, plainly
from driftline_cli.progress import bars
from driftline_cli.replay import Receipt
from driftline_cli.replay import replay as replayed


def replay(
    stream: StreamFile,
    data: DataFile,
    to: Annotated[str, typer.Option(envvar="DRIFTLINE_INGEST", help="Address of ingest.")] = INGEST,
    rate: Annotated[float, typer.Option(help="Records a second at most.", min=0.001)] = math.inf,
    pace: Annotated[
        float | None, typer.Option(help="Times faster than recorded, instead of a rate.", min=0.001)
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Records at most.", min=1)] = None,
    drift: Annotated[drifts.Kind, typer.Option(help="Drift that is added to the data.")] = "none",
    seed: Seed = 0,
    token: Annotated[str | None, typer.Option(envvar="DRIFTLINE_TOKEN", help="Ingest's bearer token.")] = None,
) -> None:
    """Sends a file to a running ingest, as fast as it takes it, at a rate, or at the recorded pace.

    The exit code is 1 when ingest refused any of the records.

    Example: driftline replay --stream streams/active-power.yaml --data data/la-haute-borne.parquet --rate 100

    Example: driftline replay --stream streams/active-power.yaml --data data/la-haute-borne.parquet --pace 600
    """
    with plainly():
        defined = definition.load(stream)
        rows = drifts.apply(drift, tables.read_file(data, defined).take(slice(0, limit)), defined, seed=seed)
        receipt = asyncio.run(_replay(defined, rows, to, rate=rate, pace=pace, token=token))
    console.print(
        f"{receipt.accepted:,} accepted, {receipt.repeated:,} repeated, {receipt.out_of_order:,} out of order, "
        f"{receipt.refused_total:,} refused"
    )
    if receipt.refused_total:
        raise typer.Exit(WRONG)


async def _replay(
    stream: definition.StreamDefinition,
    rows: tables.Rows,
    to: str,
    *,
    rate: float,
    pace: float | None,
    token: str | None,
) -> Receipt:
    total, done = Receipt(), 0
    async with httpx.AsyncClient(base_url=to, headers=tokens.headers(to, token), timeout=30) as client:
        with bars(console) as progress:
            async for receipt in replayed(client, stream, rows, rate=rate, recorded_pace=pace):
                total += receipt
                done = total.accepted + total.repeated + total.out_of_order + total.refused_total
                progress("sending", done, len(rows))
    return total
