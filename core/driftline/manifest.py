"""Model versions as they lie in the object store, and what makes one fit to serve. Pure.

models/<stream>/<member>/v000042-<sha256 first 12>/model.tflite
models/<stream>/<member>/v000042-<sha256 first 12>/manifest.json
models/<stream>/<member>/current.json
models/<stream>/<member>/quarantine/v000042-<sha256 first 12>.json
"""

import hashlib
import re
from typing import Literal, TypeVar

import msgspec

from driftline.definition import StreamDefinition
from driftline.errors import RefusedModel


class Pointer(msgspec.Struct, frozen=True):
    """`current.json`: the one version that the edge should run."""

    version: str


class Quarantine(msgspec.Struct, frozen=True):
    """Why a version must not serve anywhere, and when that was found: seconds since the epoch."""

    version: str
    reason: str
    since: float


class Golden(msgspec.Struct, frozen=True):
    """Inputs and the outputs that the trainer saw for them; the edge must see the same."""

    inputs: list[list[float]]
    outputs: list[list[float]]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a model version."""

    version: str
    stream: str
    member: str
    sha256: str
    size: int
    """Bytes of model.tflite."""
    parent: str | None
    """The version that it was fine-tuned from or replaces."""
    definition: str
    """The stream definition's fingerprint."""
    input_shape: tuple[int, int]
    """Rows (-1: any number) and features."""
    output_shape: tuple[int, int]
    output: Literal["difference"] = "difference"
    """Outputs are differences to the target's last value, in its units, one a horizon."""
    scaling: Literal["inside"] = "inside"
    """Where inputs are normalised: in the model, so the edge feeds raw features."""
    horizon: tuple[int, ...]
    architecture: str
    trained_from: int
    """First and last record time that it learned from, milliseconds since the epoch."""
    trained_to: int
    rows: int
    windows: dict[str, str] = {}
    """Per series' folder the newest archived window that a speed model has learned from: the next one goes on there."""
    metrics: dict[str, float]
    """On the hold-out: rmse, mae, skill and persistence_rmse over all horizons, rmse_<h> and skill_<h> for each;
    parent_rmse where it has one; parity, the largest difference to Keras relative to the target's scale."""
    golden: Golden
    libraries: dict[str, str]
    created: str


T = TypeVar("T", bound=msgspec.Struct)

PARITY = 1e-4
"""Largest difference to a golden output, relative to the outputs' size, that is rounding and not another model."""


def folder(stream: str, member: str) -> str:
    return f"models/{stream}/{member}"


def pointer_key(stream: str, member: str) -> str:
    return f"{folder(stream, member)}/current.json"


def model_key(stream: str, member: str, version: str) -> str:
    return f"{folder(stream, member)}/{version}/model.tflite"


def manifest_key(stream: str, member: str, version: str) -> str:
    return f"{folder(stream, member)}/{version}/manifest.json"


def quarantine_key(stream: str, member: str, version: str) -> str:
    """The mark that keeps every edge from serving a version that one of them rolled back."""
    return f"{folder(stream, member)}/quarantine/{version}.json"


def weights_key(stream: str, member: str, version: str) -> str:
    """What the trainer fine-tunes the next version from; the edge never reads it."""
    return f"{folder(stream, member)}/{version}/weights.npz"


def digest(model: bytes) -> str:
    return hashlib.sha256(model).hexdigest()


def version_name(number: int, model: bytes) -> str:
    """The name of the `number`th version; it names its content too, so a name can't be reused."""
    return f"v{number:06d}-{digest(model)[:12]}"


def version_number(version: str) -> int:
    """Raises RefusedModel for what is no version's name."""
    match = re.fullmatch(r"v(\d{6,})-[0-9a-f]{12}", version)
    if match is None:
        raise RefusedModel("pointer", f"found version {version!r}, expected a name like v000042-0123456789ab")
    return int(match[1])


def encode(value: Pointer | Manifest | Quarantine) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def decode(payload: bytes, kind: type[T], reason: str) -> T:
    """The pointer or manifest in `payload`. Raises RefusedModel with `reason`."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedModel(reason, f"expected a {kind.__name__}: {error}") from error


def verify(
    manifest: Manifest, model: bytes, *, stream: StreamDefinition, member: str, version: str, width: int
) -> None:
    """Raises RefusedModel unless `model` is exactly what `manifest` promises, for this stream and these features."""
    found = digest(model)
    checks = (
        ("manifest", "version", manifest.version, version),
        ("manifest", "member", manifest.member, member),
        ("stream", "stream", manifest.stream, stream.name),
        ("stream", "definition", manifest.definition, stream.fingerprint),
        ("stream", "horizon", tuple(manifest.horizon), stream.horizon),
        ("size", "size", len(model), manifest.size),
        ("sha256", "sha256", found, manifest.sha256),
        ("shape", "input width", manifest.input_shape[1], width),
        ("shape", "output width", manifest.output_shape[1], len(stream.horizon)),
    )
    for reason, what, is_, ought in checks:
        if is_ != ought:
            raise RefusedModel(reason, f"found {what} {is_!r}, expected {ought!r}")
