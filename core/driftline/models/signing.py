"""Who made a model version: manifests sealed with an Ed25519 signature (RFC 8032).

`manifest.json` holds the manifest and the signature over exactly its bytes. The manifest holds the model's sha256, so
one signature covers the whole version.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from driftline.errors import InvalidInput, RefusedModel
from driftline.models.manifest import Manifest, decode, encode

KEY_FILE = "signing-key.pem"
PUBLIC_FILE = "signing-key.pub"


class Sealed(msgspec.Struct, frozen=True):
    """`manifest.json`: a manifest as it was signed, byte for byte."""

    manifest: msgspec.Raw
    key: str | None = None
    """Which key signed, see `key_id`."""
    signature: str | None = None
    """Base64."""


class Signer:
    """Holds a private key. Raises InvalidInput for what is no Ed25519 key in PEM."""

    def __init__(self, pem: str) -> None:
        try:
            key = load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError) as error:
            # The text itself is a secret, so it is not shown.
            raise InvalidInput("the signing key: expected an Ed25519 private key in PEM without a password") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise InvalidInput(f"the signing key: found {type(key).__name__}, expected an Ed25519 private key")
        self._key = key

    @property
    def public(self) -> str:
        """The public key in base64, to be trusted on the edge."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, body: bytes) -> str:
        return base64.b64encode(self._key.sign(body)).decode()


class Trust:
    """The public keys whose signatures are believed.

    keys: base64, as `Signer.public` gives them. unsigned: whether versions without a signature are believed, too.
    """

    def __init__(self, keys: Iterable[str] = (), *, unsigned: bool = False) -> None:
        self._keys = {key_id(text): _public_key(text) for text in keys}
        self._unsigned = unsigned

    @property
    def believes_nobody(self) -> bool:
        return not self._keys and not self._unsigned

    @property
    def believes_unsigned(self) -> bool:
        return self._unsigned

    def check(self, sealed: Sealed) -> None:
        """Raises RefusedModel ("signature") unless a trusted key signed exactly this manifest."""
        self.verify(bytes(sealed.manifest), sealed.key, sealed.signature)

    def verify(self, body: bytes, key: str | None, signature: str | None) -> None:
        """Raises RefusedModel ("signature") unless the trusted key of this id signed exactly these bytes."""
        if signature is None:
            if not self._unsigned:
                raise RefusedModel("signature", "found no signature, expected one by a trusted key")
            return
        public = self._keys.get(key or "")
        if public is None:
            known = ", ".join(sorted(self._keys)) or "none"
            raise RefusedModel("signature", f"found a signature by key {key!r}, expected a trusted one: {known}")
        try:
            raw = base64.b64decode(signature, validate=True)
            if base64.b64encode(raw).decode() != signature:
                raise binascii.Error("bits behind the end")  # noqa: TRY301 - base64's last letter may hold some
            public.verify(raw, body)
        except (InvalidSignature, binascii.Error) as error:
            raise RefusedModel("signature", "found a signature of other content") from error


def key_id(public: str) -> str:
    """A short name of a public key, to tell keys apart in manifests and messages."""
    return hashlib.sha256(public.encode()).hexdigest()[:16]


def seal(manifest: Manifest, signer: Signer | None) -> bytes:
    """The content of `manifest.json`; unsigned without a signer."""
    body = encode(manifest)
    if signer is None:
        return msgspec.json.encode(Sealed(msgspec.Raw(body)))
    return msgspec.json.encode(Sealed(msgspec.Raw(body), key_id(signer.public), signer.sign(body)))


def unseal(payload: bytes, trust: Trust | None = None) -> Manifest:
    """The manifest in `manifest.json`; without `trust` whoever made it. Raises RefusedModel."""
    sealed = decode(payload, Sealed, "manifest")
    manifest = decode(bytes(sealed.manifest), Manifest, "manifest")
    if trust is not None:
        trust.check(sealed)
    return manifest


def new_key() -> str:
    """A private key in PEM that nobody else has."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def new_keys(folder: Path) -> str:
    """Writes a new pair of keys, readable by its owner alone, and returns the public one. Raises InvalidInput where
    there is one: nothing is overwritten."""
    private = folder / KEY_FILE
    if private.exists():
        raise InvalidInput(f"{private}: found a key, expected none: keys are not overwritten")
    return ensure_keys(folder)


def ensure_keys(folder: Path) -> str:
    """The public key in a folder; of a pair that is not there yet what is missing is made. Each file is whole when it
    has its name."""
    folder.mkdir(parents=True, exist_ok=True)
    private, public = folder / KEY_FILE, folder / PUBLIC_FILE
    if not private.exists():
        part = private.with_suffix(".part")
        part.unlink(missing_ok=True)
        part.touch(mode=0o600, exist_ok=False)
        part.write_text(new_key())
        part.rename(private)
    text = Signer(read(private)).public
    if not public.exists():
        part = public.with_suffix(".part")
        part.write_text(f"{text}\n")
        part.rename(public)
    return text


def read(path: Path) -> str:
    """The keys in a file. Raises InvalidInput."""
    try:
        return path.read_text()
    except OSError as error:
        raise InvalidInput(f"{path}: found no readable file, expected keys in it: {error.strerror}") from error
    except UnicodeDecodeError:
        # What it holds may be a secret, so nothing of it is shown.
        raise InvalidInput(f"{path}: found bytes that are no text, expected keys in it") from None


def _public_key(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(f"found {text!r}, expected an Ed25519 public key: 32 bytes in base64") from error
