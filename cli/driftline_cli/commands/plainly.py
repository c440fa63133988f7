"""How every subcommand ends: an error is one sentence with what to do, and the exit code says of which kind it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import typer
from rich.console import Console

from driftline.errors import BusUnavailable, DriftlineError, Unavailable

console = Console()

WRONG = 1
AWAY = 3
INTERRUPTED = 130
EXIT_CODES = (
    "Exit codes: 0 all is well; 1 something is wrong, as the message says; 2 the command was misused; 3 something is "
    "unavailable, and the same command may succeed later; 130 interrupted."
)


@contextmanager
def plainly() -> Iterator[None]:
    """Says what is wrong in one sentence instead of a stack trace."""
    try:
        yield
    except BusUnavailable as error:
        raise _end(f"{error}; start it (`make up`), or set DRIFTLINE_BROKERS to where it is", AWAY) from error
    except httpx.TransportError as error:
        url = error.request.url.copy_with(path="/", query=None)
        raise _end(f"{url} does not answer ({type(error).__name__}); start it, or name its address", AWAY) from error
    except Unavailable as error:
        raise _end(str(error), AWAY) from error
    except (DriftlineError, httpx.HTTPError, OSError) as error:
        raise _end(str(error), WRONG) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(INTERRUPTED) from error


def _end(said: str, code: int) -> typer.Exit:
    Console(stderr=True).print(f"driftline: {said}", style="red", markup=False, soft_wrap=True)
    return typer.Exit(code)
