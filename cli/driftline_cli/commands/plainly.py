"""How every subcommand ends: an error is one sentence with what to do, and the exit code says of which kind it was."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

from driftline.errors import BusUnavailable, DriftlineError, Unavailable

console = Console()
errors = Console(stderr=True)

OF_DEFINITIONS = "driftline.streams.definition_files"
WRONG = 1
AWAY = 3
INTERRUPTED = 130
EXIT_CODES = (
    "Exit codes: 0 all is well; 1 something is wrong, as the message says; 2 the command was misused; 3 something is "
    "unavailable, and the same command may succeed later; 130 interrupted."
)
LAB = "driftline-cli[lab]"
"""What brings the services, TensorFlow and matplotlib."""
RUNTIME = "driftline[litert]"
"""What brings a TensorFlow Lite runtime."""


class NotInstalledError(DriftlineError):
    """A subcommand needs a package that is not here."""


@contextmanager
def plainly() -> Iterator[None]:
    """Says what is wrong in one sentence instead of a stack trace. Nothing is logged between tables and bars but
    what is doubtful in a definition."""
    import stamina  # noqa: PLC0415 - like the clients, for those who run

    logging.basicConfig(level=logging.CRITICAL, format="%(name)s: %(message)s")
    logging.getLogger(OF_DEFINITIONS).setLevel(logging.WARNING)
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        yield
    except KeyboardInterrupt as error:
        raise typer.Exit(INTERRUPTED) from error
    except BrokenPipeError as error:
        # Who reads has had enough, such as `head`. Python would complain of what it can't write at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from error
    except Exception as error:
        end = _end_of(error)
        if end is None:
            raise
        sentence, code = end
        errors.print(f"driftline: {sentence}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(code) from error


@contextmanager
def brought_by(requirement: str) -> Iterator[None]:
    """Around imports of what the command itself does not need. Raises NotInstalledError."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).partition(".")[0]
        raise NotInstalledError(
            f"this subcommand needs {package}, which is not installed: pip install '{requirement}'"
        ) from error


def _end_of(error: Exception) -> tuple[str, int] | None:
    """The sentence and the exit code; None for what is a bug, and for what typer ends by itself."""
    from driftline_client import Busy, ClientError, Forbidden, NoAnswer  # noqa: PLC0415 - most help needs no client

    match error:
        case BusUnavailable():
            brokers = os.environ.get("DRIFTLINE_BROKERS") or "127.0.0.1:9092"
            remedy = f"start it (`make up`), or set DRIFTLINE_BROKERS ({brokers}) to where it is"
            return f"{error}; {remedy}", AWAY
        case NoAnswer():
            return f"{error.url} does not answer ({error.reason}); start it, or name its address", AWAY
        case Unavailable() | Busy():
            return str(error), AWAY
        case Forbidden():
            return f"{error}; DRIFTLINE_TOKEN names the token that is shown", WRONG
        case DriftlineError() | ClientError() | OSError():
            return str(error), WRONG
    return None


def as_json(value: Any) -> str:
    """For programs, indented."""
    import msgspec  # noqa: PLC0415

    return msgspec.json.format(msgspec.json.encode(value)).decode()


def print_json(value: Any) -> None:
    """On standard output."""
    typer.echo(as_json(value))
