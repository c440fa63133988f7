"""The names that a service answers to.

A page of somebody else's can have its own name point at this machine (DNS rebinding), and a browser then lets it read
and write here as if it were ours. What such a page can't do is send another `Host` than its own name. So names of the
public DNS are answered only where the settings name them; addresses, names without a dot and those that nobody can
register are no such page's.
"""

from collections.abc import Collection
from functools import lru_cache
from http import HTTPStatus
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from driftline.service.problems import problem

UNREGISTERED = (".localhost", ".local", ".internal", ".svc", ".home.arpa")
"""Ends of names that the public DNS has not: of this machine, of the network at hand, of a cluster."""
SHOWN = 80
REMEMBERED = 256
"""Values of `Host` whose answer is remembered: looking at one takes longer than all the rest."""


class OwnHosts:
    """An app that refuses requests to other names. hosts: of the public DNS, `*.example.org` for all below, `*` for
    any."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._is_own = lru_cache(REMEMBERED)(lambda host: is_own(host.decode("latin-1"), hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"host" and not self._is_own(value):
                    await _refusal(value)(scope, receive, send)
                    return
        await self._app(scope, receive, send)


def is_own(host: str, hosts: Collection[str]) -> bool:
    """Whether `host`, with or without a port, is no stranger's name."""
    name = host.lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    # An absolute name; `example.` stands for the public top level, which a name without a dot does not.
    name, absolute = name.removesuffix("."), name.endswith(".")
    if "." not in name:
        return not absolute or name == "localhost" or _is_listed(name, hosts) or _is_address(name)
    return name.endswith(UNREGISTERED) or _is_address(name) or _is_listed(name, hosts)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_listed(name: str, hosts: Collection[str]) -> bool:
    return any(
        listed in {"*", name} or (listed.startswith("*.") and name.endswith(listed[1:]))
        for listed in map(str.lower, hosts)
    )


def _refusal(host: bytes) -> ASGIApp:
    name = host.decode("latin-1")[:SHOWN]
    return problem(
        HTTPStatus.MISDIRECTED_REQUEST,
        f"found Host {name!r}, expected an address, a name of this network, or one that DRIFTLINE_HOSTS lists",
    )
