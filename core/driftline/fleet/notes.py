"""Small signed files: a note, and the Ed25519 signature over exactly its bytes.

Edges sign their heartbeats so; the trainer signs what it says to all edges. A file may be packed by gzip, which halves
a heartbeat; whoever reads takes both forms.
"""

import gzip
import zlib
from typing import TypeVar

import msgspec

from driftline.errors import RefusedModel, RefusedNote
from driftline.models.signing import Signer, Trust, key_id

T = TypeVar("T", bound=msgspec.Struct)

NOTE_LIMIT = 256 * 1024
"""Bytes of a note's file at most, unpacked."""
GZIP = b"\x1f\x8b"
"""How a packed file begins; JSON never does."""


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


def packed(payload: bytes) -> bytes:
    """The same file by gzip; the same bytes give the same file."""
    return gzip.compress(payload, mtime=0)


def _unpacked(payload: bytes) -> bytes:
    """Raises RefusedNote, also for more than NOTE_LIMIT bytes: they are not unpacked."""
    if not payload.startswith(GZIP):
        return payload
    try:
        body = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(payload, NOTE_LIMIT + 1)
    except zlib.error as error:
        raise RefusedNote(f"expected a note that is packed by gzip: {error}") from error
    if len(body) > NOTE_LIMIT:
        raise RefusedNote(f"found a packed note of more than {NOTE_LIMIT} bytes, expected at most as many")
    return body


def key_named(payload: bytes) -> str | None:
    """Which key a note says that it is signed by, packed or not; None for none, and for what is no note."""
    try:
        return msgspec.json.decode(_unpacked(payload), type=SignedNote).key
    except (msgspec.DecodeError, UnicodeDecodeError, RefusedNote):
        return None


def opened(payload: bytes, kind: type[T], trust: Trust | None) -> T:
    """What a note says, packed or not; without `trust` whoever wrote it. Raises RefusedNote."""
    try:
        signed = msgspec.json.decode(_unpacked(payload), type=SignedNote)
        if trust is not None:
            trust.verify(bytes(signed.note), signed.key, signed.signature)
        return msgspec.json.decode(signed.note, type=kind)
    except RefusedModel as error:
        raise RefusedNote(error.detail) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedNote(f"expected a {kind.__name__}: {error}") from error
