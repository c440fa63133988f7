"""`driftline fleet`: all edges, one edge, one version across edges."""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from driftline_cli.commands.options import TRAINER, AsJson, TrainerAt
from driftline_cli.commands.plainly import console, plainly, print_json

if TYPE_CHECKING:
    from rich.console import RenderableType

T = TypeVar("T")


class Alive(StrEnum):
    live = "live"
    late = "late"
    silent = "silent"


def fleet(
    edge: Annotated[str | None, typer.Argument(help="Id or name of an edge; without it all.", metavar="EDGE")] = None,
    version: Annotated[
        str | None,
        typer.Option(help="STREAM.MEMBER@VERSION across edges; STREAM.MEMBER alone lists its versions."),
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only edges with it: NAME=VALUE. Several are all.")] = None,
    state: Annotated[list[Alive] | None, typer.Option(help="Only edges in this state.")] = None,
    trainer: TrainerAt = TRAINER,
    json: AsJson = False,  # noqa: FBT002
) -> None:
    """Shows the edges of the fleet: which live, what they run, how well they do, and what is wrong with them.

    The trainer answers, from the heartbeats that edges leave in the object store.

    Example: driftline fleet --label site=north --state silent

    Example: driftline fleet --version outdoor-temperature.batch@v000042
    """
    if edge is not None and version is not None:
        raise typer.BadParameter("found both EDGE and --version, expected one of them")
    if (label or state) and (edge or version):
        raise typer.BadParameter("found --label or --state with one edge or version, expected them with all edges")
    with plainly():
        from driftline_cli import fleet_view  # noqa: PLC0415

        if edge is not None:
            details = asyncio.run(fleet_view.one_edge(trainer, edge))
            _print(details, fleet_view.edge_screen, json=json)
        elif version is not None:
            versions = asyncio.run(fleet_view.one_version(trainer, version))
            _print(versions, fleet_view.version_screen, json=json)
        else:
            body = asyncio.run(fleet_view.fleet(trainer, label or [], state or []))
            _print(body, fleet_view.as_screen, json=json)


def _print(body: T, screen: "Callable[[T], RenderableType]", *, json: bool) -> None:
    if json:
        print_json(body)
    else:
        console.print(screen(body))
