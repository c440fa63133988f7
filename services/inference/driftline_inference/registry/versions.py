"""A model version out of a store: fetched, verified, loaded and tried, or refused with its reason."""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats
from driftline.errors import RefusedModel
from driftline.models.interpreter import Batch, Interpreter
from driftline.models.manifest import ColumnScaling, Manifest
from driftline.models.signing import Trust
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline.streams.features import Inputs
from driftline.versions import fetching
from driftline.versions.fetching import Files
from driftline.versions.files import MODEL_LIMIT

log = logging.getLogger(__name__)

Live = Callable[[str], Inputs | None]
"""By stream, what the newest records of all its series are forecast from."""


class LoadedModel:
    """A verified version, ready to run; see `driftline_inference.serving.Model`."""

    def __init__(self, manifest: Manifest, interpreter: Interpreter, stream: StreamDefinition) -> None:
        self.manifest = manifest
        self._interpreter = interpreter
        reported = [manifest.metrics.get(f"skill_{h}", math.nan) for h in stream.horizon]
        self.skills = reported if all(math.isfinite(skill) for skill in reported) else []
        self._columns = [stream.columns.index(name) for name in manifest.columns]

    @property
    def version(self) -> str:
        return self.manifest.version

    def run(self, rows: Batch) -> Batch:
        """[n, width] rows as the model itself takes them to [n, outputs]."""
        return self._interpreter.run(rows)

    def forecast(self, inputs: Inputs) -> Floats:
        rows = self._rows(inputs)
        usable = self.usable(inputs)
        forecasts = np.full((len(rows), self._interpreter.outputs), np.nan)
        if usable.any():
            forecasts[usable] = self._in_units(self.run(rows[usable]), inputs.last[usable])
        return forecasts

    def usable(self, inputs: Inputs) -> npt.NDArray[np.bool_]:
        """[n]: the rows that it can be asked about."""
        if self.manifest.inputs == "features":
            return inputs.ready
        return inputs.ready & np.isfinite(self._rows(inputs)).all(axis=1)

    def _rows(self, inputs: Inputs) -> Batch:
        if self.manifest.inputs == "features":
            return inputs.net
        lags = self._interpreter.width // len(self._columns)
        values = inputs.newest[:, lags - 1 :: -1, self._columns]
        match self.manifest.scaling:
            case ColumnScaling(offset=offset, scale=scale):
                values = (values - offset) / scale
        return values.reshape(len(values), -1).astype(np.float32)

    def _in_units(self, outputs: Batch, last: Floats) -> Floats:
        """last: [n], the target's newest values."""
        forecasts = outputs.astype(np.float64)
        match self.manifest.scaling:
            case ColumnScaling(target_offset=offset, target_scale=scale):
                forecasts = forecasts * scale + offset
        return forecasts + last[:, None] if self.manifest.output == "difference" else forecasts


@dataclass(frozen=True)
class Fetched:
    """A verified version with its files as they lay in the store."""

    model: LoadedModel
    manifest_file: bytes
    model_file: bytes


@dataclass(frozen=True)
class Fetcher:
    """trust: whose signatures are believed. limit: bytes of a model at most. live: what a new model must be able to
    forecast from."""

    trust: Trust
    limit: int = MODEL_LIMIT
    live: Live | None = None

    async def fetch(self, store: Store, stream: StreamDefinition, member: str, version: str) -> Fetched:
        """A version that may serve. Raises RefusedModel, NotFound, StoreUnavailable."""
        files = await fetching.fetch(store, stream, member, version, trust=self.trust, limit=self.limit)
        live = self.live(stream.name) if self.live else None
        model = await asyncio.to_thread(_load, files, stream, live)
        return Fetched(model, files.manifest_file, files.model_file)


def _load(files: Files, stream: StreamDefinition, live: Inputs | None) -> LoadedModel:
    model = LoadedModel(files.manifest, fetching.load(files), stream)
    if live is not None:
        _try(model, live)
    return model


def _try(model: LoadedModel, live: Inputs) -> None:
    """Raises RefusedModel unless the model forecasts every series that it can be asked about."""
    asked = model.usable(live)
    wild = int((asked & ~np.isfinite(model.forecast(live)).all(axis=1)).sum())
    if wild:
        raise RefusedModel("finite", f"found no finite forecast for {wild} of {asked.sum()} live series")
