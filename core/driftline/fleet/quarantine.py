"""The trainer's signed word that no edge may serve a version.

Any device can write into the store, so a mark that nobody signed counts only where unsigned models would serve, too:
there it may be one of a former release, which edges wrote.
"""

import msgspec

from driftline.errors import NotFound, RefusedModel, RefusedNote, TooLarge
from driftline.fleet.notes import NOTE_LIMIT, SignedNote, opened, sealed
from driftline.models import manifest as manifests
from driftline.models.manifest import Quarantine
from driftline.models.signing import Signer, Trust
from driftline.store.port import Store, read


async def quarantine(store: Store, mark: Quarantine, signer: Signer | None) -> None:
    """Says to all edges that a version must not serve. Raises StoreUnavailable."""
    key = manifests.quarantine_key(mark.stream, mark.member, mark.version)
    await store.put(key, sealed(mark, signer))


async def quarantine_of(store: Store, stream: str, member: str, version: str, trust: Trust | None) -> Quarantine | None:
    """The mark of a version, or None where there is none that counts. Raises StoreUnavailable.

    trust: whose word counts; None for everybody's.
    """
    believes_anyone = trust is None or trust.believes_unsigned
    try:
        payload = await read(store, manifests.quarantine_key(stream, member, version), NOTE_LIMIT)
        mark = _opened(payload, trust)
    except NotFound:
        return None
    except (TooLarge, RefusedModel, RefusedNote) as error:
        # What can't be read is better believed where everybody is.
        return Quarantine(version, str(error), 0.0, stream, member) if believes_anyone else None
    is_of_it = (mark.stream, mark.member, mark.version) == (stream, member, version)
    return mark if is_of_it or believes_anyone else None


def _opened(payload: bytes, trust: Trust | None) -> Quarantine:
    try:
        msgspec.json.decode(payload, type=SignedNote)
    except (msgspec.DecodeError, UnicodeDecodeError):
        mark = manifests.decode(payload, Quarantine, "quarantine")
        if trust is not None:
            trust.verify(payload, None, None)
        return mark
    return opened(payload, Quarantine, trust)
