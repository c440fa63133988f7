"""Model versions as they lie in the object store, and what makes one fit to serve. Pure.

models/<stream>/<member>/v000042-<sha256 first 12>/model.tflite
models/<stream>/<member>/v000042-<sha256 first 12>/manifest.json
models/<stream>/<member>/current.json
models/<stream>/<member>/quarantine/v000042-<sha256 first 12>.json
models/<stream>/<member>/rollouts/v000042-<sha256 first 12>.json
models/<stream>/<member>/edges/<edge's id>.json
models/<stream>/<member>/refused/<sha256 first 12>/model.tflite
models/<stream>/<member>/refused/<sha256 first 12>/report.json
"""

import hashlib
import re
from math import prod
from typing import Literal, TypeVar

import msgspec

from driftline.errors import Refusal, RefusedModel
from driftline.streams.definition import StreamDefinition


class Trial(msgspec.Struct, frozen=True, omit_defaults=True):
    """A version that some of the edges run, before all others do; see `driftline.fleet.rollout`.

    Edges need `version`, `below` and `first`; the rest is the trainer's, in one object with them, so that one
    conditional put moves all of it.
    """

    version: str
    below: float
    """The edges whose rank is below this are in the trial."""
    first: dict[str, str] = {}
    """Labels of the edges that come first."""
    stage: int = 0
    """Which of the definition's stages, counted from 0."""
    entered: float = 0.0
    """`below` of the stage before: edges from this rank on came in with this one."""
    since: float = 0.0
    """Seconds since the epoch when this stage began."""
    paused: bool = False
    """Whether it moves forward by hand alone."""


class Pointer(msgspec.Struct, frozen=True, omit_defaults=True):
    """`current.json`: the one version that every edge should run that is not in the trial."""

    version: str
    trial: Trial | None = None
    former: str | None = None
    """The version for all before this one: what is pointed back at when this one turns out to be worse."""
    since: float = 0.0
    """Seconds since the epoch when `version` became the one for all; 0 where a former release wrote it."""


class Quarantine(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a version must not serve, and when that was found: seconds since the epoch. In the store it is a signed
    note and counts for all edges, see `driftline.fleet.quarantine`; on an edge's disk it counts there."""

    version: str
    reason: str
    since: float
    stream: str = ""
    """Whose version it is; a former release's mark does not say so."""
    member: str = ""


class Usage(msgspec.Struct, frozen=True):
    """What one edge runs of a model: nothing in use is ever pruned. `since`: seconds since the epoch."""

    edge: str
    """Its id; its name in notes of an edge that knew none yet, which say no `name`."""
    version: str
    former: str | None
    """What a rollback would go back to."""
    pinned: bool
    """Whether it stays on `version` wherever the pointer goes."""
    since: float
    name: str = ""
    """What people call the edge."""

    @property
    def versions(self) -> set[str]:
        return {self.version} | ({self.former} if self.former else set())


class ColumnScaling(msgspec.Struct, frozen=True):
    """Inputs are (value - offset) / scale, one of each per column; outputs are turned back by the target's own."""

    offset: list[float]
    scale: list[float]
    target_offset: float
    target_scale: float


class UsualValues(msgspec.Struct, frozen=True):
    """What a column was like in the records that a model has learned from, of all series together: the mean, the usual
    deviation from it, and the largest."""

    level: float
    deviation: float
    furthest: float


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
    input_shape: tuple[int, ...]
    """Rows (-1: any number, 1: one by one), then features, or lags and columns, or both in one."""
    output_shape: tuple[int, ...]
    inputs: Literal["features", "lags"] = "features"
    """What a row holds: what `driftline.streams.features` makes, or the newest records themselves, the oldest first."""
    columns: tuple[str, ...] = ()
    """Which columns a lag holds, in this order."""
    output: Literal["difference", "value"] = "difference"
    """What the outputs are, one a horizon: differences to the target's last value, or values."""
    scaling: Literal["inside"] | ColumnScaling = "inside"
    """Where inputs and outputs are normalised: in the model, so the edge feeds raw values; or how the edge does it."""
    horizon: tuple[int, ...]
    architecture: str
    trained_from: int
    """First and last record time that it learned from, milliseconds since the epoch."""
    trained_to: int
    rows: int
    """From which it learned, the hold-out included."""
    sampled_from: int | None = None
    """Rows that there were, where `rows` are a sample of them: more than fit into the trainer's memory."""
    windows: dict[str, str] = {}
    """The newest archived windows that a speed model has learned from: the next one goes on there. By windows/<stream>/
    <key> where they are named by offsets, and by windows/<stream>/<key>/<edge> where by times."""
    metrics: dict[str, float]
    """On the hold-out: rmse, mae, skill and persistence_rmse over all horizons, rmse_<h> and skill_<h> for each;
    parent_rmse where it has one; parity, the largest difference to Keras relative to the target's scale."""
    golden: Golden
    usual: dict[str, UsualValues] = {}
    """By column of the definition: an edge that gets something quite different raises an alert."""
    libraries: dict[str, str]
    created: str

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return prod(self.input_shape[1:])

    @property
    def outputs(self) -> int:
        """Numbers in a row's answer."""
        return prod(self.output_shape[1:])


T = TypeVar("T", bound=msgspec.Struct)

VERSION = re.compile(r"v([0-9]{6,12})-[0-9a-f]{12}")
SHOWN = 100
"""Characters of a name that a refusal repeats."""
IMPORTED = "imported"
"""The architecture of a model that was made elsewhere: it can't be fine-tuned."""
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


def quarantine_prefix(stream: str, member: str) -> str:
    return f"{folder(stream, member)}/quarantine/"


def quarantine_key(stream: str, member: str, version: str) -> str:
    """The trainer's signed word that keeps every edge from serving a version; on an edge's own disk its own mark."""
    return f"{quarantine_prefix(stream, member)}{version}.json"


def rollout_prefix(stream: str, member: str) -> str:
    return f"{folder(stream, member)}/rollouts/"


def rollout_key(stream: str, member: str, version: str) -> str:
    """Where the trainer notes what became of a version's roll-out."""
    return f"{rollout_prefix(stream, member)}{version}.json"


def usage_prefix(stream: str, member: str) -> str:
    return f"{folder(stream, member)}/edges/"


def usage_key(stream: str, member: str, edge: str) -> str:
    """Where an edge notes what it runs."""
    return f"{usage_prefix(stream, member)}{edge}.json"


def weights_key(stream: str, member: str, version: str) -> str:
    """What the trainer fine-tunes the next version from; the edge never reads it."""
    return f"{folder(stream, member)}/{version}/weights.npz"


def refused_key(stream: str, member: str, model: bytes, name: str) -> str:
    """Where a candidate that the gate refused is kept: model.tflite and report.json."""
    return f"{refused_prefix(stream, member)}{digest(model)[:12]}/{name}"


def refused_prefix(stream: str, member: str) -> str:
    return f"{folder(stream, member)}/refused/"


def digest(model: bytes) -> str:
    return hashlib.sha256(model).hexdigest()


def version_name(number: int, model: bytes) -> str:
    """The name of the `number`th version; it names its content too, so a name can't be reused."""
    return f"v{number:06d}-{digest(model)[:12]}"


def is_version(name: str) -> bool:
    """Whether it is a version's name."""
    return VERSION.fullmatch(name) is not None


def version_number(version: str) -> int:
    """Raises RefusedModel for what is no version's name."""
    match = VERSION.fullmatch(version)
    if match is None:
        raise RefusedModel("pointer", f"found version {shown(version)!r}, expected a name like v000042-0123456789ab")
    return int(match[1])


def shown(name: str) -> str:
    """A name as far as a refusal repeats it."""
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}…"


def encode(value: Pointer | Manifest | Quarantine | Usage) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def decode(payload: bytes, kind: type[T], reason: Refusal) -> T:
    """The pointer or manifest in `payload`. Raises RefusedModel with `reason`."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedModel(reason, f"expected a {kind.__name__}: {error}") from error


def verify(
    manifest: Manifest, model: bytes, *, stream: StreamDefinition, member: str, version: str, width: int
) -> None:
    """Raises RefusedModel unless `model` is exactly what `manifest` promises, for this stream.

    width: how many features the stream has.
    """
    checks: tuple[tuple[Refusal, str, object, object], ...] = (
        ("manifest", "version", manifest.version, version),
        ("manifest", "member", manifest.member, member),
        ("stream", "stream", manifest.stream, stream.name),
        ("stream", "definition", manifest.definition, stream.fingerprint),
        ("stream", "horizon", tuple(manifest.horizon), stream.horizon),
        ("size", "size", len(model), manifest.size),
        ("sha256", "sha256", digest(model), manifest.sha256),
        ("shape", "output width", manifest.outputs, len(stream.horizon)),
    )
    for reason, what, is_, ought in checks:
        if is_ != ought:
            raise RefusedModel(reason, f"found {what} {is_!r}, expected {ought!r}")
    if manifest.inputs == "lags":
        _verify_lags(manifest, stream)
    elif manifest.width != width:
        raise RefusedModel("shape", f"found input width {manifest.width!r}, expected {width!r}")


def _verify_lags(manifest: Manifest, stream: StreamDefinition) -> None:
    """Raises RefusedModel unless the stream has the columns and remembers the lags that the model wants."""
    unknown = sorted(set(manifest.columns) - set(stream.columns))
    if unknown or not manifest.columns:
        raise RefusedModel("shape", f"found columns {manifest.columns}, expected some of {stream.columns}")
    lags, rest = divmod(manifest.width, len(manifest.columns))
    if rest or not 1 <= lags <= stream.lags:
        raise RefusedModel(
            "shape", f"found {lags} lags of {len(manifest.columns)} columns, expected 1 to {stream.lags}"
        )
    if isinstance(manifest.scaling, ColumnScaling):
        sizes = (len(manifest.scaling.offset), len(manifest.scaling.scale))
        if sizes != (len(manifest.columns),) * 2 or 0.0 in manifest.scaling.scale:
            raise RefusedModel("manifest", f"found scaling {manifest.scaling}, expected one that is not 0 per column")
