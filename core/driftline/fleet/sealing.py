"""The fleet's key, and what is sealed with it: nobody else reads it, and nothing else opens in its place.

ChaCha20-Poly1305, since a Pi 4 has no instructions for AES. What is sealed for one purpose, such as an edge's states,
has a key of its own (HKDF, RFC 5869): so random nonces suffice for a fleet of any size.
"""

import base64
import binascii
import os
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from driftline.errors import InvalidInput, RefusedBackup

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
MAGIC: Final = b"DLS"
VERSION: Final = 1
"""Of what is sealed: of the box, and of what lies in it."""
OVERHEAD: Final = len(MAGIC) + 1 + NONCE_BYTES + 16
"""Bytes by which something sealed is longer."""


def cipher(secret: bytes, purpose: str, salt: bytes | None = None) -> ChaCha20Poly1305:
    """With the key for one purpose."""
    derived = HKDF(SHA256(), KEY_BYTES, salt, f"driftline {purpose}".encode()).derive(secret)
    return ChaCha20Poly1305(derived)


class FleetKey:
    """32 bytes that all edges of a fleet share, and whoever replaces one."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a file of 32 bytes, or of their base64. Raises InvalidInput."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InvalidInput(f"found {str(path)!r}, expected a file with the fleet's key: {error.strerror}") from None
        secret = content if len(content) == KEY_BYTES else _from_text(content)
        if len(secret) != KEY_BYTES:
            raise InvalidInput(
                f"{path}: found no key of {KEY_BYTES} bytes, expected those or their base64, as "
                f"`openssl rand -base64 {KEY_BYTES}` makes it"
            )
        return cls(secret)

    def box(self, purpose: str) -> "SealedBox":
        """What seals for one purpose."""
        return SealedBox(cipher(self.secret, purpose))


def _from_text(content: bytes) -> bytes:
    try:
        return base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        return b""


class SealedBox:
    """Seals bytes under a name: they open under that name alone."""

    def __init__(self, aead: ChaCha20Poly1305) -> None:
        self._aead = aead

    def seal(self, body: bytes, name: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return b"".join((MAGIC, bytes([VERSION]), nonce, self._aead.encrypt(nonce, body, name.encode())))

    def open(self, sealed: bytes, name: str) -> bytes:
        """Raises RefusedBackup."""
        if sealed[: len(MAGIC)] != MAGIC or len(sealed) < OVERHEAD:
            raise RefusedBackup(f"{name}: found something else than what an edge has left, or a part of it")
        if (version := sealed[len(MAGIC)]) != VERSION:
            raise RefusedBackup(f"{name}: found version {version}, expected {VERSION}: use the release that wrote it")
        begin = len(MAGIC) + 1
        nonce, body = sealed[begin : begin + NONCE_BYTES], sealed[begin + NONCE_BYTES :]
        try:
            return self._aead.decrypt(nonce, body, name.encode())
        except InvalidTag:
            raise RefusedBackup(
                f"{name}: does not open with this fleet key: it was sealed with another one, it is damaged, or it was "
                "left under another name"
            ) from None


def box_of_edge(key: FleetKey, edge: str) -> SealedBox:
    """For the states of one edge: another edge's do not open with it."""
    return key.box(f"states of {edge}")
