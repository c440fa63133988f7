"""The command's own help, as a page."""

import typer
from typer.cli import get_docs_for_click

from driftline_cli.__main__ import app
from scripts.reference.markdown import MADE

INTRODUCTION = """\
`.venv/bin/driftline` in this tree. Each command says the same with `--help`. The exit code is 0 when all is well, 1
when something is wrong, 2 for misuse."""


def render() -> str:
    command = typer.main.get_command(app)
    made = get_docs_for_click(obj=command, ctx=typer.Context(command), name="driftline")
    text = made.replace("# `driftline`", f"# The command\n\n{MADE}\n\n{INTRODUCTION}", 1)
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines()) + "\n"
