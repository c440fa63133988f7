"""The command `driftline`: its subcommands, put together. commands/plainly.py says how they end.

Each is imported thin: what it works with is imported when it runs, so that help and completion are there at once, and
status needs no TensorFlow.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from driftline_cli.commands import edge, local, models, offline, rollouts, token
from driftline_cli.commands.backup import backup, restore
from driftline_cli.commands.check import check
from driftline_cli.commands.first_look import propose_from
from driftline_cli.commands.fleet import fleet
from driftline_cli.commands.forecast import forecast
from driftline_cli.commands.look import doctor, status
from driftline_cli.commands.plainly import EXIT_CODES
from driftline_cli.commands.replay import replay
from driftline_cli.commands.send import send
from driftline_cli.commands.tail import tail
from driftline_cli.commands.train import train

app = typer.Typer(
    help="Driftline: forecasts sensor streams and keeps them right while the data drift.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:  # noqa: FBT001 - typer calls it
    if asked:
        typer.echo(f"driftline {version('driftline-cli')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is, and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """What comes before a subcommand."""


RUNNING = (local.up, local.down)
RESULTS = (offline.demo, offline.backtest, offline.accuracy)
for command in (*RESULTS, *RUNNING, check, replay, send, status, forecast, fleet, train, tail, doctor, backup, restore):
    app.command()(command)
app.command("from")(propose_from)
app.add_typer(edge.app, name="edge")
app.add_typer(models.app, name="models")
app.add_typer(rollouts.app, name="rollout")
app.add_typer(token.app, name="token")
app.add_typer(local.app, name="local")


if __name__ == "__main__":
    app()
