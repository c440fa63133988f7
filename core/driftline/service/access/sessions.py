"""What a browser keeps after somebody has shown a token: a sealed note of who that was, good for reading alone. Pure.

It never lets anybody change something, so a page of somebody else's that has a browser send it gains nothing.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Final

import msgspec

from driftline.service.access.roles import Caller

LASTS_S: Final = 30 * 86_400.0
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

    def seal(self, caller: Caller, now: float) -> str:
        body = msgspec.json.encode(Session(caller.name, caller.mark, now + LASTS_S))
        return f"{_text(body)}.{_text(self._seal_of(body))}"

    def open(self, cookie: str, now: float) -> Session | None:
        """None for what was not sealed here, and for what is over."""
        body, _, seal = cookie[:LIMIT].partition(".")
        try:
            content = urlsafe_b64decode(body)
            if not hmac.compare_digest(_text(self._seal_of(content)).encode(), seal.encode()):
                return None
            session = msgspec.json.decode(content, type=Session)
        except (ValueError, msgspec.DecodeError):
            return None
        # One that would last longer was sealed by a clock that has been set back since.
        return session if now < session.until <= now + LASTS_S + APART_S else None

    def _seal_of(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, sha256)


def _text(body: bytes) -> str:
    return urlsafe_b64encode(body).decode()
