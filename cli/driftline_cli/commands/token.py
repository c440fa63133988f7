"""Subcommands about named tokens: who may look, send and change."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from driftline_cli.commands.options import AsJson
from driftline_cli.commands.plainly import console, plainly, print_json

app = typer.Typer(help="Make, list and revoke the named tokens of a service.", no_args_is_help=True)

Tokens = Annotated[
    Path,
    typer.Option("--file", envvar="DRIFTLINE_TOKENS_FILE", help="The file that services read.", dir_okay=False),
]
Name = Annotated[str, typer.Argument(help="Whose it is, as the audit names them.")]


@app.command()
def new(
    name: Name,
    file: Tokens,
    role: Annotated[Literal["viewer", "sender", "operator"], typer.Option(help="Rights of its holder.")] = "viewer",
    days: Annotated[float | None, typer.Option(help="Days until it is over; by default never.", min=0.001)] = None,
) -> None:
    """Makes a token and prints it, this once: the file keeps its SHA-256 alone. Services need no restart.

    A viewer reads; a sender may also send records and futures; an operator may change everything.

    Example: driftline token new grafana --role viewer --file /etc/driftline/tokens.yaml
    """
    with plainly():
        from driftline_cli import named_tokens  # noqa: PLC0415

        typer.echo(named_tokens.new(file, name, role, days))


@app.command("list")
def list_tokens(file: Tokens, json: AsJson = False) -> None:  # noqa: FBT002
    """Shows the tokens: names, roles and times.

    Example: driftline token list --file /etc/driftline/tokens.yaml
    """
    with plainly():
        from driftline_cli import named_tokens  # noqa: PLC0415

        known = named_tokens.known(file)
        if json:
            print_json(known)
        else:
            console.print(named_tokens.as_table(known))


@app.command()
def revoke(name: Name, file: Tokens) -> None:
    """Takes a token back. Services refuse it from the next request on, and so the sessions of browsers that showed it.

    Example: driftline token revoke grafana --file /etc/driftline/tokens.yaml
    """
    with plainly():
        from driftline_cli import named_tokens  # noqa: PLC0415

        named_tokens.revoke(file, name)
        console.print(f"{name}: revoked", markup=False)
