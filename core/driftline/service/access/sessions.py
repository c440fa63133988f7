"""What a browser keeps after somebody has signed in: a sealed note of who that was, good for reading alone. Pure.

It never lets anybody change something, so a page of somebody else's that has a browser send it gains nothing.
"""

from typing import Final

import msgspec

from driftline.service.access.roles import Caller
from driftline.service.access.sealing import seal, unseal

LASTS_S: Final = 30 * 86_400.0
"""After a named token, whose file can end it at any time."""
LASTS_OF_ISSUER_S: Final = 12 * 3_600.0
"""After a sign-in at an issuer, which is asked again then: who has no access there any more reads no longer."""
APART_S: Final = 60.0
"""How far the clocks of services that open each other's sessions may be apart."""
LIMIT: Final = 1024


class Session(msgspec.Struct, frozen=True, array_like=True):
    """Whose it is, and until when."""

    name: str
    mark: str
    until: float


class Sessions:
    """Seals and opens notes. key: what nobody else knows."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, caller: Caller, now: float, lasts: float = LASTS_S) -> str:
        """lasts: seconds, at most `LASTS_S`."""
        return seal(self._key, msgspec.json.encode(Session(caller.name, caller.mark, now + lasts)))

    def open(self, cookie: str, now: float) -> Session | None:
        """None for what was not sealed here, and for what is over."""
        content = unseal(self._key, cookie, LIMIT)
        if content is None:
            return None
        try:
            session = msgspec.json.decode(content, type=Session)
        except msgspec.DecodeError:
            return None
        # One that would last longer was sealed by a clock that has been set back since.
        return session if now < session.until <= now + LASTS_S + APART_S else None
