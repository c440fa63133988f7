"""Roles, and which of them a request needs, by its method and path. Pure.

A route that nobody speaks of here is never open: to read it needs a viewer, all else an operator.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal, get_args

RoleName = Literal["viewer", "sender", "operator"]
ROLE_NAMES: Final[tuple[RoleName, ...]] = get_args(RoleName)
Needed = Literal["open"] | RoleName
"""`open`: to everybody, or the route examines whoever asks itself."""
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN: Final[Mapping[str, Needed]] = {
    "GET /livez": "open",
    "GET /readyz": "open",
    "GET /login": "open",
    "POST /login": "open",
    "GET /login/issuer": "open",
    "GET /login/callback": "open",
    "POST /logout": "open",
}
"""Of every service: what probes ask for, and where people say who they are."""


class Role(IntEnum):
    """Each may do what those before it may."""

    VIEWER = 1
    SENDER = 2
    OPERATOR = 3

    @classmethod
    def named(cls, name: str) -> "Role":
        """Raises KeyError."""
        return cls[name.upper()]

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Caller:
    """Whoever asks. how: what told us, such as `token` or `oidc`; mark: of the credential, and of no other."""

    name: str
    role: Role
    how: str
    mark: str = ""


ANYBODY: Final = Caller("anybody", Role.OPERATOR, "open")
"""Where no credential is asked for."""


class RouteRoles:
    """By route the role that it needs. exceptions: by `METHOD /path/{part}` what is not as the method says; `*` for
    any method."""

    def __init__(self, exceptions: Mapping[str, Needed] = {}) -> None:
        rules = {**OPEN, **exceptions}
        self._exact = {route: needed for route, needed in rules.items() if "{" not in route}
        self._patterns = [(_pattern(route), needed) for route, needed in rules.items() if "{" in route]

    def of(self, method: str, path: str) -> Role | None:
        """The role that a request needs; None for none."""
        asked = "GET" if method == "HEAD" else method
        needed = self._exception(f"{asked} {path}") or self._exception(f"* {path}")
        if needed is not None:
            return None if needed == "open" else Role.named(needed)
        return Role.VIEWER if method in READING else Role.OPERATOR

    def _exception(self, route: str) -> Needed | None:
        matching = (needed for pattern, needed in self._patterns if pattern.fullmatch(route))
        return self._exact.get(route) or next(matching, None)


def _pattern(route: str) -> re.Pattern[str]:
    """A part in braces is any text without a slash."""
    parts = re.split(r"\{[^}]*\}", route)
    return re.compile("[^/]+".join(map(re.escape, parts)))


@dataclass(frozen=True)
class OidcClient:
    """What the issuer knows this installation as, where people sign in with a browser.

    secret: None for a public client; redirect: where browsers come back to, None for the address that they came from;
    scope: what is asked for."""

    client_id: str
    secret: str | None = field(repr=False)
    redirect: str | None
    scope: str


@dataclass(frozen=True)
class OidcTerms:
    """Whose tokens are believed, and what they must say. claim: of the roles, with dots into objects; roles: by value
    of the claim the role that it gives; client: None where nobody signs in with a browser."""

    issuer: str
    audience: str
    claim: str
    roles: Mapping[str, RoleName]
    client: OidcClient | None = None
