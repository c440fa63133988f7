"""Puts a version into the store and moves the pointer to it, so that of two trainers one wins and the other sees it."""

from collections.abc import Callable
from dataclasses import dataclass

from driftline.errors import NotFound, RefusedModel, TooLarge
from driftline.models import manifest as manifests
from driftline.models.manifest import Manifest, Pointer
from driftline.models.signing import Signer, seal, unseal
from driftline.store.port import Store
from driftline.versions.files import MANIFEST_LIMIT, POINTER_LIMIT, file_of


@dataclass(frozen=True)
class Current:
    """What a pointer names: the version, its manifest, and the pointer's etag for the next move."""

    manifest: Manifest
    etag: str

    @property
    def version(self) -> str:
        return self.manifest.version


async def current(store: Store, stream: str, member: str) -> Current | None:
    """The version that the edge should run, or None before the first. Raises RefusedModel for a broken one."""
    try:
        stored = await store.get(manifests.pointer_key(stream, member), limit=POINTER_LIMIT)
    except NotFound:
        return None
    except TooLarge as error:
        raise RefusedModel("pointer", str(error)) from error
    assert stored is not None, "only a conditional get may answer with nothing"  # noqa: S101
    version = manifests.decode(stored.body, Pointer, "pointer").version
    manifests.version_number(version)
    described = await file_of(store, manifests.manifest_key(stream, member, version), MANIFEST_LIMIT, "manifest")
    return Current(unseal(described), stored.etag)


async def release(
    store: Store,
    stream: str,
    member: str,
    model: bytes,
    describe: Callable[[str], Manifest],
    *,
    signer: Signer | None,
    before: Current | None,
    weights: bytes | None = None,
) -> Manifest:
    """Writes the next version, which `describe` describes by its name, and points at it.

    Raises Conflict when another trainer moved the pointer first.
    """
    version = manifests.version_name(await _next_number(store, stream, member), model)
    manifest = describe(version)
    name = (stream, member, version)
    await store.put(manifests.model_key(*name), model, if_absent=True)
    if weights is not None:
        await store.put(manifests.weights_key(*name), weights, if_absent=True)
    await store.put(manifests.manifest_key(*name), seal(manifest, signer), if_absent=True)
    pointer = manifests.encode(Pointer(version))
    key = manifests.pointer_key(stream, member)
    # Last of all: whoever follows the pointer finds the whole version.
    if before is None:
        await store.put(key, pointer, if_absent=True)
    else:
        await store.put(key, pointer, if_match=before.etag)
    return manifest


async def _next_number(store: Store, stream: str, member: str) -> int:
    """One more than any that was ever begun, published or not."""
    prefix = f"{manifests.folder(stream, member)}/v"
    names = [listed.key.split("/")[3] async for listed in store.list(prefix)]
    return 1 + max((manifests.version_number(name) for name in names if manifests.is_version(name)), default=0)
