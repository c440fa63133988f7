"""Seals what a browser keeps for a service, and opens it again: nobody else can write or change such a note. Pure."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256


def seal(key: bytes, body: bytes) -> str:
    """Text that a cookie can hold. Its reader can read it, so nothing in it may be a secret from them."""
    return f"{_text(body)}.{_text(_seal_of(key, body))}"


def unseal(key: bytes, note: str, limit: int) -> bytes | None:
    """None for what was not sealed with that key, or is longer than `limit`."""
    body, _, given = note[:limit].partition(".")
    try:
        content = urlsafe_b64decode(body)
        is_ours = hmac.compare_digest(_text(_seal_of(key, content)).encode(), given.encode())
    except ValueError:
        return None
    return content if is_ours else None


def key_for(key: bytes, use: bytes) -> bytes:
    """A key of its own for a use, so that a note of one use opens in no other."""
    return hmac.digest(key, use, sha256)


def _seal_of(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, sha256)


def _text(body: bytes) -> str:
    return urlsafe_b64encode(body).decode()
