"""The token of the services on this machine: made once, kept in a file, and found again by the command."""

import os
import secrets
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from driftline.errors import InvalidInput
from driftline.files import make_folder, replace_file
from driftline.service.setting_checks import variable
from driftline.service.settings import SECRETS
from driftline_cli.places import RUN

PLACE = "secrets"
TOKEN_FILE = "driftline_token"  # noqa: S105 - a name
CLOSED = "it lets nobody read without a token that it knows"
REMEDY = "set DRIFTLINE_TOKEN to one, which `driftline token new` makes"
HEADER_FILE = "authorization"
"""The same as a header, for `curl -H @FILE`: what stands in a command line, others can read."""


def make(run: Path) -> Path:
    """The folder of a local stack's secrets, with its token; what is there already stays."""
    folder = run.absolute() / PLACE
    make_folder(folder, mode=0o700)
    token = _once(folder / TOKEN_FILE, secrets.token_urlsafe(32))
    _once(folder / HEADER_FILE, f"Authorization: Bearer {token}\n")
    return folder


def header_file(run: Path) -> Path:
    """Where `make` has put the header."""
    return run / PLACE / HEADER_FILE


def token_of(url: str, given: str | None) -> str | None:
    """With which the service at `url` lets the command change something.

    given: by option or variable; otherwise the token of the folder that DRIFTLINE_SECRETS names, or the local stack's
    for what it started, and for nobody else.
    """
    return given or _kept(url)


def reading_token(url: str) -> str | None:
    """For what only looks: the token of DRIFTLINE_TOKEN, if there is one."""
    return token_of(url, os.environ.get(variable("token")))


def _kept(url: str) -> str | None:
    folder = os.environ.get(SECRETS)
    if folder:
        return _read(Path(folder) / TOKEN_FILE)
    return _read(RUN / PLACE / TOKEN_FILE) if _is_of_stack(url, RUN) else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: found no token that can be read: {type(error).__name__}") from None


def _is_of_stack(url: str, run: Path) -> bool:
    """Whether a service listens there that `driftline up` started in `run`."""
    try:
        services: dict[str, int] = msgspec.json.decode((run / "ports.json").read_bytes())["services"]
        parts = urlsplit(url)
        is_here = parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
        return is_here and parts.port in services.values()
    except (OSError, ValueError, KeyError, msgspec.DecodeError):
        return False


def _once(path: Path, text: str) -> str:
    """The file's text; written whole for its owner alone, when it is not there."""
    if not path.exists():
        replace_file(path, text.encode("ascii"))
    return path.read_text(encoding="ascii")
