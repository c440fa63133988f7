"""Small signed files: a note, and the Ed25519 signature over exactly its bytes.

Edges sign their heartbeats so; the trainer signs what it says to all edges.
"""

from typing import TypeVar

import msgspec

from driftline.errors import RefusedModel, RefusedNote
from driftline.models.signing import Signer, Trust, key_id

T = TypeVar("T", bound=msgspec.Struct)

NOTE_LIMIT = 256 * 1024
"""Bytes of a note at most."""


class SignedNote(msgspec.Struct, frozen=True):
    """A note as it was signed, byte for byte."""

    note: msgspec.Raw
    key: str | None = None
    """Which key signed, see `driftline.models.signing.key_id`."""
    signature: str | None = None
    """Base64."""


def sealed(note: msgspec.Struct, signer: Signer | None) -> bytes:
    """The content of a note's file; unsigned without a signer."""
    body = msgspec.json.encode(note)
    if signer is None:
        return msgspec.json.encode(SignedNote(msgspec.Raw(body)))
    return msgspec.json.encode(SignedNote(msgspec.Raw(body), key_id(signer.public), signer.sign(body)))


def opened(payload: bytes, kind: type[T], trust: Trust | None) -> T:
    """What a note says; without `trust` whoever wrote it. Raises RefusedNote."""
    try:
        signed = msgspec.json.decode(payload, type=SignedNote)
        if trust is not None:
            trust.verify(bytes(signed.note), signed.key, signed.signature)
        return msgspec.json.decode(signed.note, type=kind)
    except RefusedModel as error:
        raise RefusedNote(error.detail) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedNote(f"expected a {kind.__name__}: {error}") from error
