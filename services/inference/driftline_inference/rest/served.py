"""The models as clients of the Open Inference Protocol see them: each by its scaled features, and by raw records.

STREAM.MEMBER takes and gives what the model itself does. STREAM.MEMBER.records takes recent records, since no client
can compute the features, and gives forecasts in the target's units.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from driftline.errors import InvalidInput, NotFound
from driftline.models.interpreter import Batch
from driftline.models.manifest import Manifest
from driftline.streams.definition import StreamDefinition
from driftline_inference.recent_records import RECORDS_LIMIT, RecentSeries, recent_series
from driftline_inference.registry.registry import Registry
from driftline_inference.registry.versions import LoadedModel
from driftline_inference.rest.protocol import (
    DATATYPE,
    INPUT,
    ITEM,
    OUTPUT,
    ROWS_LIMIT,
    TEXT,
    InferRequest,
    InputTensor,
    only_input,
)

RECORDS, FUTURES = "records", "futures"
KEY, TIME, FORECAST = "key", "time", "forecast"
SUFFIX = f".{RECORDS}"
PLATFORM, BACKEND = "tensorflow_lite", "litert"

Outputs = Mapping[str, npt.NDArray[Any] | list[str]]


@dataclass(frozen=True)
class TensorForm:
    """A tensor of a model. shape: -1 for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


class ModelForm(Protocol):
    """How a model is spoken to. rows: that it takes at once; 0 where its tensors' first dimension is none of a
    batch."""

    rows: int

    def inputs(self, manifest: Manifest) -> list[TensorForm]: ...

    def outputs(self, manifest: Manifest) -> list[TensorForm]: ...

    async def read(self, model: LoadedModel, request: InferRequest, inputs: Mapping[str, InputTensor]) -> Any:
        """What `run` takes. Raises InvalidInput."""

    def run(self, model: LoadedModel, given: Any) -> tuple[int, Outputs]:
        """How many rows were forecast, and the outputs. Raises InvalidInput."""


class FeatureForm:
    """By the model's own tensors; its manifest says what they mean."""

    rows = ROWS_LIMIT

    def inputs(self, manifest: Manifest) -> list[TensorForm]:
        return [TensorForm(INPUT, DATATYPE, (-1, manifest.width))]

    def outputs(self, manifest: Manifest) -> list[TensorForm]:
        return [TensorForm(OUTPUT, DATATYPE, (-1, manifest.outputs))]

    async def read(self, model: LoadedModel, request: InferRequest, inputs: Mapping[str, InputTensor]) -> Batch:
        return only_input(request, inputs).rows(model.manifest.width)

    def run(self, model: LoadedModel, given: Batch) -> tuple[int, Outputs]:
        return len(given), {OUTPUT: model.run(given).astype(ITEM)}


class RecordForm:
    """By rows of the stream, as ingest takes them."""

    rows = 0

    def __init__(self, stream: StreamDefinition, one_at_a_time: asyncio.Lock) -> None:
        """one_at_a_time: of all models, since the stream's own records need the processor, too."""
        self._stream = stream
        self._one_at_a_time = one_at_a_time

    def inputs(self, manifest: Manifest) -> list[TensorForm]:  # noqa: ARG002
        futures = [TensorForm(FUTURES, TEXT, (-1,), optional=True)] if self._stream.futures else []
        return [TensorForm(RECORDS, TEXT, (-1,)), *futures]

    def outputs(self, manifest: Manifest) -> list[TensorForm]:
        of_horizons = (-1, manifest.outputs)
        return [
            TensorForm(KEY, TEXT, (-1,)),
            TensorForm(TIME, "INT64", of_horizons),
            TensorForm(FORECAST, "FP64", of_horizons),
        ]

    async def read(self, model: LoadedModel, request: InferRequest, inputs: Mapping[str, InputTensor]) -> RecentSeries:
        names = {form.name for form in self.inputs(model.manifest)}
        if RECORDS not in inputs or not names.issuperset(inputs) or len(inputs) != len(request.inputs):
            given = [tensor.name for tensor in request.inputs]
            raise InvalidInput(f"inputs: found {given}, expected {RECORDS!r} of {sorted(names)}, each once")
        texts = {name: part.texts(RECORDS_LIMIT) for name, part in inputs.items()}
        async with self._one_at_a_time:
            return await asyncio.to_thread(recent_series, self._stream, texts[RECORDS], texts.get(FUTURES, ()))

    def run(self, model: LoadedModel, given: RecentSeries) -> tuple[int, Outputs]:
        return len(given.keys), {KEY: given.keys, TIME: given.times, FORECAST: given.forecast(model)}


@dataclass(frozen=True)
class RequestedModel:
    """A version that serves, in one of its forms."""

    name: str
    model: LoadedModel
    form: ModelForm

    @property
    def version(self) -> str:
        return self.model.version

    def metadata(self) -> dict[str, Any]:
        manifest = self.model.manifest
        inputs, outputs = map(_described, (self.form.inputs(manifest), self.form.outputs(manifest)))
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": PLATFORM,
            "inputs": inputs,
            "outputs": outputs,
        }

    def config(self) -> dict[str, Any]:
        """As the extension for model configurations has it, as far as it says anything of such a model."""
        manifest, batched = self.model.manifest, bool(self.form.rows)
        inputs = [
            {**_configured(form, batched=batched), "optional": form.optional} for form in self.form.inputs(manifest)
        ]
        return {
            "name": self.name,
            "platform": PLATFORM,
            "backend": BACKEND,
            "version_policy": {"latest": {"num_versions": 1}},
            "max_batch_size": self.form.rows,
            "input": inputs,
            "output": [_configured(form, batched=batched) for form in self.form.outputs(manifest)],
        }


class ServedModels:
    """By their names those that serve."""

    def __init__(self, registry: Registry, streams: Mapping[str, StreamDefinition]) -> None:
        self._registry = registry
        self._streams = streams
        self._features = FeatureForm()
        self._one_at_a_time = asyncio.Lock()

    def find(self, name: str, version: str | None) -> RequestedModel:
        """Raises NotFound."""
        stream, _, member = name.removesuffix(SUFFIX).rpartition(".")
        model = self._registry.serving().get((stream, member))
        if model is None:
            raise NotFound(f"found no model {name!r} that serves, expected one of {[one.name for one in self]}")
        if version is not None and version != model.version:
            raise NotFound(f"found no version {version!r} of {name} that serves, expected {model.version!r}")
        return RequestedModel(name, model, self._form(stream, of_records=name.endswith(SUFFIX)))

    def __iter__(self) -> Iterator[RequestedModel]:
        for (stream, member), model in sorted(self._registry.serving().items()):
            for of_records in (False, True):
                name = f"{stream}.{member}{SUFFIX if of_records else ''}"
                yield RequestedModel(name, model, self._form(stream, of_records=of_records))

    def missing(self) -> list[str]:
        """Names that have no version that can serve yet."""
        states = (state for state in self._registry.states() if state.serving is None)
        return sorted(f"{state.stream.name}.{state.member}{suffix}" for state in states for suffix in ("", SUFFIX))

    def _form(self, stream: str, *, of_records: bool) -> ModelForm:
        return RecordForm(self._streams[stream], self._one_at_a_time) if of_records else self._features


def _described(forms: list[TensorForm]) -> list[dict[str, Any]]:
    return [{"name": form.name, "datatype": form.datatype, "shape": list(form.shape)} for form in forms]


def _configured(form: TensorForm, *, batched: bool) -> dict[str, Any]:
    """The dimensions leave out that of the batch."""
    kind = "STRING" if form.datatype == TEXT else form.datatype
    return {"name": form.name, "data_type": f"TYPE_{kind}", "dims": list(form.shape[1 if batched else 0 :])}
