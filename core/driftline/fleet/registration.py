"""An edge that has joined the fleet: which key signs its notes. Pure."""

import msgspec


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """`fleet/edges/<edge's id>.json`, a note that the trainer signed."""

    edge: str
    name: str
    public_key: str
    """Ed25519, in base64."""
    labels: dict[str, str] = {}
    joined: float
    """Seconds since the epoch, by the trainer's clock."""
    revoked: float | None = None
    """... when it was shut out."""
