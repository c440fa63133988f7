"""Reads S3 event notifications of any dialect as hints. Pure, and never raises: an event is not the truth.

AWS, moto, MiniStack, MinIO and versitygw encode keys differently, so a key is every reading that it may have.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, unquote_plus

import msgspec

from driftline.store.hints import Keys, between


def keys(payload: bytes | str) -> Keys:
    """The keys that the event may be about, in every reading; None when it can't be understood or names none."""
    try:
        named = frozenset(_keys(msgspec.json.decode(payload)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return named or None


def concerned(payload: bytes | str, prefix: str, suffix: str = "") -> Keys:
    """The keys between `prefix` and `suffix` that the event may be about; None, which is any, for what can't be
    understood."""
    named = keys(payload)
    return named if named is None else between(named, prefix, suffix)


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
