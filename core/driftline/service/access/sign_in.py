"""A sign-in somewhere else: the browser leaves for an issuer and returns with what proves who uses it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from driftline.service.access.roles import Caller


@dataclass(frozen=True)
class Departure:
    """Where the browser goes, and the note that its cookie keeps. is_private: whether it comes back by https."""

    url: str
    note: str
    is_private: bool


@dataclass(frozen=True)
class Return:
    """What a browser brought back. code: once and for this sign-in alone; is_private: whether it came by https.

    caller: asks the issuer whose code it is; None for nobody's. Raises NotAllowed, Unavailable."""

    code: str
    wanted: str
    is_private: bool
    caller: Callable[[], Awaitable[Caller | None]]


class SignIn(Protocol):
    """Leads to the issuer and back."""

    @property
    def where(self) -> str:
        """The issuer's host, for people."""

    async def leave(self, here: str, wanted: str) -> Departure:
        """here: the address to which the browser shall return, unless the settings name one. Raises Unavailable."""

    def returned(self, query: Mapping[str, str], sealed: str) -> Return:
        """Raises InvalidInput for what is not the second half of a sign-in that this browser began."""
