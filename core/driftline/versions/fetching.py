"""A model version out of a store: fetched, verified and loaded, or refused with its reason."""

from dataclasses import dataclass

from driftline.errors import RefusedModel
from driftline.models import manifest as manifests
from driftline.models.interpreter import Interpreter, check_golden
from driftline.models.manifest import Manifest
from driftline.models.signing import Trust, unseal
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline.streams.layout import Layout
from driftline.versions.files import MANIFEST_LIMIT, MODEL_LIMIT, file_of


@dataclass(frozen=True)
class Files:
    """A version's files as they lay in the store, and what the first says."""

    manifest: Manifest
    manifest_file: bytes
    model_file: bytes


async def fetch(
    store: Store, stream: StreamDefinition, member: str, version: str, *, trust: Trust, limit: int = MODEL_LIMIT
) -> Files:
    """The files of a version that is signed and whole, and is for this stream. Raises RefusedModel, NotFound,
    StoreUnavailable.

    limit: bytes of a model at most.
    """
    described = await file_of(store, manifests.manifest_key(stream.name, member, version), MANIFEST_LIMIT, "manifest")
    manifest = unseal(described, trust)
    if manifest.size > limit:
        raise RefusedModel("size", f"found {manifest.size} bytes, expected at most {limit}")
    body = await file_of(store, manifests.model_key(stream.name, member, version), limit, "size")
    width = Layout.of(stream).net_width
    manifests.verify(manifest, body, stream=stream, member=member, version=version, width=width)
    return Files(manifest, described, body)


def load(files: Files) -> Interpreter:
    """The model, once it has given its golden outputs. Raises RefusedModel."""
    manifest, interpreter = files.manifest, Interpreter(files.model_file)
    if interpreter.input_shape != manifest.input_shape or interpreter.outputs != manifest.outputs:
        shapes = (interpreter.input_shape, interpreter.outputs)
        raise RefusedModel("shape", f"found {shapes}, expected {(manifest.input_shape, manifest.outputs)}")
    check_golden(interpreter, manifest.golden)
    return interpreter
