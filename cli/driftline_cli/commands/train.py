"""`driftline train`: a job for the trainer, followed to its end."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from driftline.service.ports import open_store
from driftline.service.settings import Settings, read_settings
from driftline.streams import definition
from driftline_cli import tokens
from driftline_cli import training as trainings
from driftline_cli.commands.options import TRAINER, StreamFile, TrainerAt
from driftline_cli.commands.plainly import WRONG, console, plainly
from driftline_cli.progress import waiting


class Member(StrEnum):
    batch = "batch"
    speed = "speed"


def train(
    stream: StreamFile,
    history: Annotated[
        Path | None,
        typer.Option(help="A CSV or Parquet file; without it all that is stored.", exists=True, dir_okay=False),
    ] = None,
    member: Annotated[Member, typer.Option(help="Which model.")] = Member.batch,
    trainer: TrainerAt = TRAINER,
    token: Annotated[str | None, typer.Option(envvar="DRIFTLINE_TOKEN", help="The trainer's bearer token.")] = None,
) -> None:
    """Trains a model: puts the history into the store, asks the trainer, and follows the job.

    The store is the one that DRIFTLINE_STORE names. The exit code is 1 unless the model was published.

    Example: driftline train --stream streams/outdoor-temperature.yaml --history data/la-haute-borne.parquet
    """
    with plainly():
        job = asyncio.run(_train(definition.load(stream), history, member.value, trainer, token))
        said = f"{job['version']}: {job['beaten']}" if job["state"] == "published" else job["reason"]
        console.print(f"{job['state']}: {said}", markup=False, soft_wrap=True)
        if job["state"] != "published":
            raise typer.Exit(WRONG)


async def _train(
    stream: definition.StreamDefinition, history: Path | None, member: str, url: str, token: str | None
) -> dict[str, Any]:
    with waiting(console) as tell:
        key = None
        if history is not None:
            tell(f"uploading {history.name}")
            key = await _upload(stream, history)
        async with httpx.AsyncClient(base_url=url, headers=tokens.headers(url, token), timeout=30) as client:
            job = await trainings.ask(client, stream.name, member, key)
            async for state in trainings.follow(client, job["id"]):
                tell(f"{member} model of {stream.name}: {state['state']}")
                job = state
    return job


async def _upload(stream: definition.StreamDefinition, history: Path) -> str:
    store = open_store(read_settings(Settings))
    try:
        return await trainings.upload(store, stream, history)
    finally:
        await store.close()
