"""The command's own help, as a page."""

import typer
from typer.cli import get_docs_for_click

from driftline_cli.__main__ import app
from scripts.reference.markdown import MADE

INTRODUCTION = """\
`.venv/bin/driftline` in this tree. `driftline COMMAND --help` shows the same text."""


def render() -> str:
    command = typer.main.get_command(app)
    generated = get_docs_for_click(obj=command, ctx=typer.Context(command), name="driftline")
    text = generated.replace("# `driftline`", f"# The command\n\n{MADE}\n\n{INTRODUCTION}", 1)
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines()) + "\n"
