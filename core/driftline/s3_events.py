"""Reads S3 event notifications of any dialect as hints. Pure, and never raises: an event is not the truth.

AWS, moto, MiniStack, MinIO and versitygw encode keys differently, so a key is every reading that it may have.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, unquote_plus

import msgspec


def keys(payload: bytes | str) -> set[str] | None:
    """The keys that the event may be about, in every reading; None when it can't be understood or names none."""
    try:
        found = set(_keys(msgspec.json.decode(payload)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found or None


def may_concern(payload: bytes | str, prefix: str) -> bool:
    """Whether the event may be about an object under `prefix`. What can't be understood may be about anything."""
    found = keys(payload)
    return found is None or any(key.startswith(prefix) for key in found)


def _keys(event: Any) -> Iterator[str]:
    if not isinstance(event, dict):
        return
    if isinstance(event.get("Message"), str):
        # SNS wraps the event as text.
        yield from keys(event["Message"]) or ()
    records = event.get("Records")
    for record in records if isinstance(records, list) else ():
        match record:
            case {"s3": {"object": {"key": str(key)}}}:
                yield from {key, unquote(key), unquote_plus(key)}
