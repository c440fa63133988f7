"""Which devices belong to the fleet: registrations, and the tokens that admit new ones. Pure.

The store holds no secret of them: of tokens and credentials it has the sha256 alone.
"""

import hashlib
import hmac
import re
from typing import Annotated, Literal

import msgspec

from driftline.fleet.labels import LABELS_LIMIT, PATTERN

EDGE_ID = re.compile(r"[a-z0-9]{1,64}")
"""An edge's id goes into names of windows, which have their parts between hyphens."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""What people call an edge."""

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
EdgeName = Annotated[str, msgspec.Meta(pattern=NAME)]
LabelText = Annotated[str, msgspec.Meta(pattern=PATTERN)]
Labels = Annotated[dict[LabelText, LabelText], msgspec.Meta(max_length=LABELS_LIMIT)]


class Credential(msgspec.Struct, frozen=True):
    """What a device shows with every request, as its sha256 in hex, and when the cloud learned of it."""

    digest: str
    since: float


class Registration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`fleet/edges/<id>.json`: a device of the fleet. Times in seconds since the epoch, by the trainer's clock."""

    edge: str
    """Its id."""
    name: str
    public_key: str
    """Ed25519, in base64: who holds the other half signs for this edge."""
    labels: dict[str, str] = {}
    joined: float
    revoked: float | None = None
    credentials: list[Credential] = []
    """The newest last. The one before it is good until the newest was used: the answer may have been lost."""

    def admits(self, secret: str) -> bool:
        """Whether who shows `secret` is this device. All are compared, each in constant time."""
        shown = digest_of(secret)
        equal = [hmac.compare_digest(shown, credential.digest) for credential in self.credentials]
        return any(equal) and self.revoked is None

    def with_next(self, digest: str, now: float) -> "Registration":
        """With another credential, beside the one that is in use."""
        return msgspec.structs.replace(self, credentials=[*self.credentials[:1], Credential(digest, now)])

    def settled(self, secret: str) -> "Registration":
        """With the newest credential alone, once it was shown."""
        newest = self.credentials[-1:]
        if len(self.credentials) < 2 or newest[0].digest != digest_of(secret):  # noqa: PLR2004 - two: one is next
            return self
        return msgspec.structs.replace(self, credentials=newest)


class JoinToken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`fleet/tokens/<sha256>.json`: admits one new device, once. Times as in `Registration`."""

    digest: str
    created: float
    expires: float
    edge: str | None = None
    """The id that the device must have; None: any that is free."""
    replaces: bool = False
    """Whether the device takes the place of the one that has the id now, which is cut off then."""
    name: str | None = None
    """The device's name, whatever it says itself."""
    labels: dict[str, str] = {}
    """... and labels, in addition to its own."""
    used_by: str | None = None
    """Id of the edge that it admitted."""
    public_key: str | None = None
    """Of that device."""
    spent: bool = False
    """Whether that device is registered: from then on it is good for nothing but the same answer again."""


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a new device asks, signed by its own key. The token comes in the header; here is its sha256, so that the
    signature is good for this token alone. Sent twice it says the same."""

    purpose: Literal["driftline.join.v1"] = "driftline.join.v1"
    """No note of another kind that the key has signed can be taken for this one."""
    token: Digest
    public_key: Annotated[str, msgspec.Meta(max_length=64)]
    credential: Digest
    """Of what the device will show from now on. It made that itself, so no answer holds it."""
    edge: Annotated[str, msgspec.Meta(pattern="^[a-z0-9]{1,64}$")] | None = None
    """The id that it has already."""
    name: EdgeName
    labels: Labels = {}


class RotationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A device's next credential, signed by its key. It names the one before, so that an old request changes nothing.

    Who has only copied a credential can't prolong it."""

    purpose: Literal["driftline.rotate.v1"] = "driftline.rotate.v1"
    edge: str
    former: Digest
    credential: Digest


class JoinAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a device learns when it was admitted: nothing secret, since it has shown no credential yet."""

    edge: str
    name: str
    labels: dict[str, str] = {}


class Provision(msgspec.Struct, frozen=True, kw_only=True):
    """What a device of the fleet works with."""

    edge: str
    name: str
    labels: dict[str, str] = {}
    trusted_keys: list[str] = []
    """Public keys in base64 whose models and notes it believes."""
    fleet_key: str | None = None
    """32 bytes in base64 with which learned state is encrypted; None where the trainer has none."""
    rotate_after: float
    """Seconds after which it makes a new credential."""


def digest_of(secret: str) -> str:
    """sha256 in hex: enough for what was drawn at random from 256 bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def bearer_of(edge: str, secret: str) -> str:
    """A credential as it is shown: whose it is, and the secret."""
    return f"{edge}.{secret}"


def read_bearer(shown: str) -> tuple[str, str] | None:
    """Id and secret; None for what is no credential."""
    edge, dot, secret = shown.partition(".")
    return (edge, secret) if dot and secret and EDGE_ID.fullmatch(edge) else None
