"""Wraps a .tflite that was made elsewhere in a manifest, after the checks that every model must pass."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal

import numpy as np

from driftline.errors import RefusedModel
from driftline.models import manifest as manifests
from driftline.models.interpreter import Interpreter
from driftline.models.manifest import IMPORTED, ColumnScaling, Golden, Manifest, Trial
from driftline.models.signing import Signer
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline.streams.layout import Layout
from driftline.versions.releases import current, release

GOLDEN_ROWS = 8


@dataclass(frozen=True)
class Meaning:
    """What the numbers in a row and in its answer are; see `driftline.models.manifest.Manifest`."""

    inputs: Literal["features", "lags"] = "lags"
    columns: tuple[str, ...] = ()
    """None: all of the stream's, the target first."""
    output: Literal["difference", "value"] = "value"
    scaling: Literal["inside"] | ColumnScaling = "inside"


async def import_model(
    store: Store,
    stream: StreamDefinition,
    member: str,
    model: bytes,
    meaning: Meaning,
    *,
    signer: Signer | None,
    now: float,
    trial: Callable[[str], Trial | None] = lambda _: None,
) -> Manifest:
    """Publishes the model as the next version of `member`. Raises RefusedModel when no edge could serve it, Conflict.

    now: seconds since the epoch. trial: see `driftline.versions.releases.release`.
    """
    interpreter = Interpreter(model)
    describe = partial(_describe, stream, member, model, meaning, interpreter, _golden(interpreter), now)
    tried = describe(manifests.version_name(0, model))
    width = Layout.of(stream).net_width
    manifests.verify(tried, model, stream=stream, member=member, version=tried.version, width=width)
    before = await current(store, stream.name, member)
    return await release(
        store, stream.name, member, model, describe, signer=signer, before=before, now=now, trial=trial
    )


def _golden(interpreter: Interpreter) -> Golden:
    """What the model makes, row by row, of rows that lie about zero."""
    inputs = np.random.default_rng(0).normal(size=(GOLDEN_ROWS, interpreter.width)).astype(np.float32)
    outputs = np.concatenate([interpreter.run(row[None]) for row in inputs])
    if not np.isfinite(outputs).all():
        raise RefusedModel("finite", "found outputs that are not finite for inputs about zero")
    return Golden(inputs.tolist(), outputs.tolist())


def _describe(
    stream: StreamDefinition,
    member: str,
    model: bytes,
    meaning: Meaning,
    interpreter: Interpreter,
    golden: Golden,
    now: float,
    version: str,
) -> Manifest:
    return Manifest(
        version=version,
        stream=stream.name,
        member=member,
        sha256=manifests.digest(model),
        size=len(model),
        parent=None,
        definition=stream.fingerprint,
        input_shape=interpreter.input_shape,
        output_shape=(interpreter.input_shape[0], interpreter.outputs),
        inputs=meaning.inputs,
        columns=(meaning.columns or stream.columns) if meaning.inputs == "lags" else (),
        output=meaning.output,
        scaling=meaning.scaling,
        horizon=stream.horizon,
        architecture=IMPORTED,
        trained_from=0,
        trained_to=0,
        rows=0,
        metrics={},
        golden=golden,
        libraries={},
        created=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
    )
