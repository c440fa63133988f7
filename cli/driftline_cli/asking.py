"""What a command that proposes a definition asks people, and how it keeps what it proposed."""

import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from driftline.errors import InvalidInput
from driftline.streams.definition_files import load
from driftline_cli.measured import Measured
from driftline_cli.proposal import Proposal


@dataclass(frozen=True)
class FileHints:
    """What somebody knows of a file that no definition describes; None is found out or asked."""

    target: str | None = None
    zone: str | None = None
    key: str | None = None


def ask_target(columns: Measured) -> str:
    """Asks at the terminal which column is to be forecast. Raises InvalidInput where nobody can be asked."""
    names = list(columns.usable)
    if len(names) == 1:
        return names[0]
    if not sys.stdin.isatty():
        raise InvalidInput(f"found no --target, expected one of the numeric columns: {', '.join(names)}")
    typer.echo(f"Numeric columns: {', '.join(names)}")
    while (name := str(typer.prompt("Which one is to be forecast?"))) not in columns.usable:
        typer.echo(f"found {name!r}, expected one of these columns")
    return name


def keep(proposal: Proposal, path: Path, option: str) -> None:
    """Writes the definition. option: by which `path` was given. Raises InvalidInput for a file that exists, or a name
    that a neighbour has already."""
    if path.suffix != ".yaml":
        raise InvalidInput(f"{option}: found {path}, expected a file that ends with .yaml, as services read no other")
    if path.exists():
        raise InvalidInput(f"{path}: exists already, expected a new file: remove it, or name another one")
    name = proposal.definition.name
    for neighbour in sorted(path.parent.glob("*.yaml")):
        if any(stream.name == name for stream in load(neighbour).streams):
            raise InvalidInput(f"{path}: {neighbour.name} has a stream {name!r} already: save it in another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(proposal.text, encoding="utf-8")
