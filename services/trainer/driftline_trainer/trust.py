"""Whose signatures count at a trainer."""

from driftline.models.signing import Signer, Trust


def own_trust(signer: Signer | None) -> Trust:
    """Whose quarantines count: its own, or everybody's where it signs nothing."""
    return Trust([signer.public]) if signer is not None else Trust(unsigned=True)
