"""Bodies of the Open Inference Protocol v2: JSON tensors and the binary tensor data extension. Pure.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

from typing import Any

import msgspec
import numpy as np

from driftline.errors import InvalidInput
from driftline.models.interpreter import Batch

INPUT, OUTPUT = "input", "output"
DATATYPE = "FP32"
HEADER_LENGTH = "Inference-Header-Content-Length"
"""Where bytes follow the JSON, this header gives the JSON's length."""
ROWS_LIMIT = 4096
"""Rows of one request at most: they are computed between two batches of the stream."""
ITEM = np.dtype("<f4")


class Tensor(msgspec.Struct, omit_defaults=True):
    """A tensor with its values, or with the size of the bytes behind the JSON that hold them."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class RequestedOutput(msgspec.Struct):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    inputs: list[Tensor]
    id: str | None = None
    outputs: list[RequestedOutput] = []
    parameters: dict[str, Any] = {}

    @property
    def binary(self) -> bool:
        """Whether the answer's tensor is wanted as bytes."""
        common = bool(self.parameters.get("binary_data_output", False))
        return all(
            bool(output.parameters.get("binary_data", common)) for output in self.outputs or [RequestedOutput(OUTPUT)]
        )


class InferResponse(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[Tensor]
    id: str | None = None


def decode(body: bytes, header_length: str | None, width: int) -> tuple[InferRequest, Batch]:
    """The request and its rows, [n, width]. Raises InvalidInput that says what was found and expected.

    header_length: the header HEADER_LENGTH, where there is one.
    """
    size = _length(header_length, len(body))
    try:
        request = msgspec.json.decode(body[:size], type=InferRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"expected an inference request: {error}") from error
    for wanted in request.outputs:
        _expect("an output", wanted.name, OUTPUT)
    _expect("the number of inputs", len(request.inputs), 1)
    (tensor,) = request.inputs
    _expect("an input", tensor.name, INPUT)
    _expect("datatype", tensor.datatype, DATATYPE)
    if len(tensor.shape) != 2 or tensor.shape[1] != width or not 1 <= tensor.shape[0] <= ROWS_LIMIT:  # noqa: PLR2004
        raise InvalidInput(f"found shape {tensor.shape}, expected [1 to {ROWS_LIMIT}, {width}]")
    return request, _rows(tensor, body[size:])


def encode(request: InferRequest, model: str, version: str, output: Batch) -> tuple[bytes, int | None]:
    """The answer's body, and the length of its JSON where bytes follow it."""
    tensor = Tensor(OUTPUT, DATATYPE, list(output.shape))
    if not request.binary:
        tensor.data = output.ravel().tolist()
        return msgspec.json.encode(InferResponse(model, version, [tensor], request.id)), None
    data = output.astype(ITEM).tobytes()
    tensor.parameters = {"binary_data_size": len(data)}
    head = msgspec.json.encode(InferResponse(model, version, [tensor], request.id))
    return head + data, len(head)


def _length(header: str | None, size: int) -> int:
    if header is None:
        return size
    if not header.isdecimal() or int(header) > size:
        raise InvalidInput(f"{HEADER_LENGTH}: found {header!r}, expected at most the body's {size} bytes")
    return int(header)


def _rows(tensor: Tensor, behind: bytes) -> Batch:
    """The tensor's values; those of JSON may be nested or flat."""
    count = int(np.prod(tensor.shape))
    if tensor.data is None:
        _expect("binary_data_size", tensor.parameters.get("binary_data_size"), count * ITEM.itemsize)
        _expect("bytes behind the JSON", len(behind), count * ITEM.itemsize)
        return np.frombuffer(behind, dtype=ITEM).reshape(tensor.shape)
    try:
        values = np.array(tensor.data, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"data of {tensor.name}: expected numbers, flat or nested as the shape says") from error
    _expect(f"values of {tensor.name}", values.size, count)
    return values.reshape(tensor.shape)


def _expect(what: str, given: object, expected: object) -> None:
    if given != expected:
        raise InvalidInput(f"{what}: found {given!r}, expected {expected!r}")
