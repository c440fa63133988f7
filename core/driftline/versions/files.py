"""The files of model versions as they lie in a store, each read within its bound."""

from typing import Final, TypeVar

from driftline.errors import Refusal, RefusedModel, TooLarge
from driftline.models import manifest as manifests
from driftline.models.manifest import Pointer, Quarantine, Usage
from driftline.store.port import Store, read

POINTER_LIMIT: Final = 4 * 1024
"""Bytes of a pointer at most."""
MARK_LIMIT: Final = 64 * 1024
"""Bytes of a quarantine mark or an edge's note at most."""
MANIFEST_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a manifest at most: a speed model's names the newest window of every series."""
MODEL_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a model at most: with two versions each it bounds an edge's cache."""
WEIGHTS_LIMIT: Final = 512 * 1024 * 1024
"""Bytes of a version's weights at most: they hold the rows that it replays."""

Said = TypeVar("Said", Pointer, Quarantine, Usage)


async def file_of(store: Store, key: str, limit: int, reason: Refusal) -> bytes:
    """A file as it lies there. Raises RefusedModel with `reason` for one over the limit, NotFound, StoreUnavailable."""
    try:
        return await read(store, key, limit)
    except TooLarge as error:
        raise RefusedModel(reason, str(error)) from error


async def find(store: Store, key: str, kind: type[Said], reason: Refusal) -> Said:
    """What a small file says. Raises RefusedModel with `reason`, NotFound, StoreUnavailable."""
    limit = POINTER_LIMIT if kind is Pointer else MARK_LIMIT
    return manifests.decode(await file_of(store, key, limit, reason), kind, reason)
