"""Makes, lists and revokes the named tokens of a file that services read."""

import secrets
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from driftline.service.access import named_tokens, token_file
from driftline.service.access.roles import RoleName
from driftline_cli.screen import keep_whole, table_of


def new(file: Path, name: str, role: RoleName, days: float | None) -> str:
    """The token, which nobody can read later. Raises InvalidInput, Conflict."""
    plain = secrets.token_urlsafe(32)
    kept = named_tokens.new_token(plain, name, role, time.time(), days)
    token_file.change(file, lambda tokens: named_tokens.with_new(tokens, kept))
    return plain


def known(file: Path) -> list[dict[str, Any]]:
    """Without what is kept of a token. Raises InvalidInput."""
    now = time.time()
    return [
        {
            "name": token.name,
            "role": token.role,
            "created": token.created.isoformat() if token.created else None,
            "expires": token.expires.isoformat() if token.expires else None,
            "over": token.is_over(now),
        }
        for token in token_file.read(file).tokens
    ]


def revoke(file: Path, name: str) -> None:
    """Raises InvalidInput, NotFound."""
    token_file.change(file, lambda tokens: named_tokens.without(tokens, name))


def as_table(tokens: list[dict[str, Any]]) -> Table:
    table = table_of("Tokens", "name", "role", "created", "good until")
    for token in tokens:
        until = f"{token['expires']}{' (over)' if token['over'] else ''}" if token["expires"] else "no end"
        table.add_row(token["name"], token["role"], token["created"] or "", until)
    return keep_whole(table, "name")
