"""`driftline rollout`: where a new version's roll-out is, and its steering by hand."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from driftline_cli.commands.options import TRAINER, AsJson, TrainerAt
from driftline_cli.commands.plainly import console, plainly, print_json

if TYPE_CHECKING:
    from driftline_client.calls.rollouts import Act, ModelRollout

app = typer.Typer(help="Shows and steers how new versions reach all edges.", no_args_is_help=True)
Model = Annotated[str, typer.Argument(help="STREAM.MEMBER, such as outdoor-temperature.batch.", metavar="MODEL")]
Token = Annotated[str | None, typer.Option(envvar="DRIFTLINE_TOKEN", help="The trainer's bearer token.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the roll-out's story.")]
Meant = Annotated[str | None, typer.Option(help="Only where this version would be moved.")]


@app.command()
def show(
    model: Annotated[str | None, typer.Argument(help="STREAM.MEMBER; else all.", metavar="MODEL")] = None,
    trainer: TrainerAt = TRAINER,
    json: AsJson = False,  # noqa: FBT002
) -> None:
    """Shows which version is tried by which edges, what they found, what it waits for, and what became of others.

    Example: driftline rollout show outdoor-temperature.batch
    """
    with plainly():
        from driftline_cli import rollouts  # noqa: PLC0415

        if model is None:
            every = asyncio.run(rollouts.all_rollouts(trainer))
            _print(every, json=json, otherwise=lambda: console.print(rollouts.as_table(every)))
        else:
            shown = asyncio.run(rollouts.one_rollout(trainer, model))
            _print(shown, json=json, otherwise=lambda: _tell(shown))


@app.command()
def advance(
    model: Model, reason: Reason = "", version: Meant = None, trainer: TrainerAt = TRAINER, token: Token = None
) -> None:
    """Goes on to the next stage, whatever the edges have found; a paused roll-out stays paused there.

    Example: driftline rollout advance outdoor-temperature.batch --reason "the canary is fine"
    """
    _steer("advance", model, reason, version, trainer, token)


@app.command()
def pause(
    model: Model, reason: Reason = "", version: Meant = None, trainer: TrainerAt = TRAINER, token: Token = None
) -> None:
    """Stays in this stage until it is resumed; a version that turns out to be worse is still stopped.

    Example: driftline rollout pause outdoor-temperature.batch --reason "until Monday"
    """
    _steer("pause", model, reason, version, trainer, token)


@app.command()
def resume(
    model: Model, reason: Reason = "", version: Meant = None, trainer: TrainerAt = TRAINER, token: Token = None
) -> None:
    """Goes on by evidence.

    Example: driftline rollout resume outdoor-temperature.batch
    """
    _steer("resume", model, reason, version, trainer, token)


@app.command()
def abort(
    model: Model, reason: Reason = "", version: Meant = None, trainer: TrainerAt = TRAINER, token: Token = None
) -> None:
    """Takes a version back from all edges, for good: the one on trial, or else the one that all edges run.

    Example: driftline rollout abort outdoor-temperature.batch --reason "learned from a broken sensor"
    """
    _steer("abort", model, reason, version, trainer, token)


def _print(shown: object, *, json: bool, otherwise: Callable[[], None]) -> None:
    if json:
        print_json(shown)
    else:
        otherwise()


def _steer(act: "Act", model: str, reason: str, version: str | None, trainer: str, token: str | None) -> None:
    with plainly():
        from driftline_cli import rollouts  # noqa: PLC0415

        _tell(asyncio.run(rollouts.steer(trainer, model, act, token, reason, version)))


def _tell(shown: "ModelRollout") -> None:
    from driftline_cli import rollouts  # noqa: PLC0415

    for sentence in rollouts.sentences(shown):
        console.print(sentence, markup=False, soft_wrap=True)
