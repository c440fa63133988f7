"""How often an address may show what is no credential before nothing new is looked at from there. Pure.

What was good a moment ago is no guess: its holder is let in meanwhile, also where all clients come from one proxy.
"""

from collections import OrderedDict
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address
from typing import Final

AT_ONCE: Final = 20
"""Failures of one address before it has to wait."""
EACH_S: Final = 3.0
"""After so many seconds an address is forgiven one of them."""
ADDRESSES: Final = 4096
GOOD: Final = 1024


class Attempts:
    """Remembers failures by address, and what was good; both are bounded."""

    def __init__(self, at_once: int = AT_ONCE, every: float = EACH_S) -> None:
        self._at_once, self._every = at_once, every
        self._until: OrderedDict[str, float] = OrderedDict()
        self._good: OrderedDict[Hashable, None] = OrderedDict()

    def wait(self, address: str, mark: Hashable, now: float) -> float:
        """Seconds until this credential is looked at; 0 for now."""
        if mark in self._good:
            return 0.0
        return max(0.0, self._until.get(_network(address), now) - now - (self._at_once - 1) * self._every)

    def failed(self, address: str, mark: Hashable, now: float) -> None:
        network = _network(address)
        self._until[network] = max(self._until.get(network, now), now) + self._every
        self._until.move_to_end(network)
        self._good.pop(mark, None)
        if len(self._until) > ADDRESSES:
            self._until.popitem(last=False)

    def succeeded(self, mark: Hashable) -> None:
        self._good[mark] = None
        self._good.move_to_end(mark)
        if len(self._good) > GOOD:
            self._good.popitem(last=False)


def _network(address: str) -> str:
    """Whoever has an IPv6 address has 2^64 of them."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped else str(parsed)
