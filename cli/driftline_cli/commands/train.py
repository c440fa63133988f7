"""`driftline train`: a job for the trainer, followed to its end."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from driftline_cli.commands.options import TRAINER, AsJson, StreamDefined, TrainerAt
from driftline_cli.commands.plainly import WRONG, console, errors, plainly, print_json


class Member(StrEnum):
    batch = "batch"
    speed = "speed"


def train(
    stream: StreamDefined,
    history: Annotated[
        Path | None,
        typer.Option(help="A CSV or Parquet file; without it all that is stored.", exists=True, dir_okay=False),
    ] = None,
    member: Annotated[Member, typer.Option(help="Which model.")] = Member.batch,
    trainer: TrainerAt = TRAINER,
    token: Annotated[str | None, typer.Option(envvar="DRIFTLINE_TOKEN", help="The trainer's bearer token.")] = None,
    json: AsJson = False,  # noqa: FBT002
) -> None:
    """Trains a model: puts the history into the store, asks the trainer, and follows the job.

    The store is the one that DRIFTLINE_STORE names. The exit code is 1 unless the model was published.

    Example: driftline train --stream outdoor-temperature --history data/la-haute-borne.parquet
    """
    with plainly():
        from driftline_cli import chosen, training  # noqa: PLC0415
        from driftline_cli.progress import waiting  # noqa: PLC0415

        defined = chosen.defined(stream)
        with waiting(errors if json else console) as show:
            job = asyncio.run(training.train(defined, history, member.value, trainer, token, show=show))
        if json:
            print_json(job)
        else:
            said = f"{job.version}: {job.beaten}" if job.state == "published" else job.reason
            console.print(f"{job.state}: {said}", markup=False, soft_wrap=True)
        if job.state != "published":
            raise typer.Exit(WRONG)
