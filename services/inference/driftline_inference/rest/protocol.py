"""Bodies of the Open Inference Protocol v2: JSON tensors and the binary tensor data extension. Pure.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.errors import InvalidInput
from driftline.models.interpreter import Batch

INPUT, OUTPUT = "input", "output"
DATATYPE, TEXT = "FP32", "BYTES"
HEADER_LENGTH = "Inference-Header-Content-Length"
"""Where bytes follow the JSON, this header gives the JSON's length."""
ROWS_LIMIT = 4096
"""Rows of one request at most: they are computed between two batches of the stream."""
ITEMS = {np.dtype("<f4"): DATATYPE, np.dtype("<f8"): "FP64", np.dtype("<i8"): "INT64"}
"""By type of numbers the protocol's name of it."""
ITEM = np.dtype("<f4")
SIZE = 4
"""Bytes before each text of a binary tensor that say its length, the least first."""


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

    def wanted(self, names: Sequence[str]) -> dict[str, bool]:
        """By name of the outputs that are asked for, of all `names` where none is, whether as bytes. Raises
        InvalidInput for one that is not among `names`."""
        common = bool(self.parameters.get("binary_data_output", False))
        for output in self.outputs:
            _expect("an output", output.name, names[0] if len(names) == 1 else names, is_one_of=output.name in names)
        asked = self.outputs or [RequestedOutput(name) for name in names]
        return {output.name: bool(output.parameters.get("binary_data", common)) for output in asked}


class InferResponse(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[Tensor]
    id: str | None = None


@dataclass(frozen=True)
class InputTensor:
    """An input as it came. binary: its bytes behind the JSON; None where its values are in the JSON."""

    tensor: Tensor
    binary: bytes | None

    def rows(self, width: int) -> Batch:
        """[n, width]. Raises InvalidInput."""
        tensor = self.tensor
        _expect("datatype", tensor.datatype, DATATYPE)
        if len(tensor.shape) != 2 or tensor.shape[1] != width or not 1 <= tensor.shape[0] <= ROWS_LIMIT:  # noqa: PLR2004
            raise InvalidInput(f"found shape {tensor.shape}, expected [1 to {ROWS_LIMIT}, {width}]")
        return _rows(tensor, self.binary)

    def texts(self, limit: int) -> list[bytes | str]:
        """Of a tensor of one dimension. Raises InvalidInput."""
        tensor = self.tensor
        _expect(f"datatype of {tensor.name}", tensor.datatype, TEXT)
        if len(tensor.shape) != 1 or not 1 <= tensor.shape[0] <= limit:
            raise InvalidInput(f"{tensor.name}: found shape {tensor.shape}, expected [1 to {limit}]")
        texts = list(_texts(tensor.name, self.binary)) if self.binary is not None else tensor.data or []
        if not all(isinstance(text, bytes | str) for text in texts):
            raise InvalidInput(f"data of {tensor.name}: expected texts, flat as the shape says")
        _expect(f"values of {tensor.name}", len(texts), tensor.shape[0])
        return texts


def decode(body: bytes, header_length: str | None) -> tuple[InferRequest, dict[str, InputTensor]]:
    """The request and its inputs by name. Raises InvalidInput that says what was found and expected.

    header_length: the header HEADER_LENGTH, where there is one.
    """
    size = _length(header_length, len(body))
    try:
        request = msgspec.json.decode(body[:size], type=InferRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"expected an inference request: {error}") from error
    return request, {part.tensor.name: part for part in _parts(request.inputs, body[size:])}


def only_input(request: InferRequest, inputs: Mapping[str, InputTensor]) -> InputTensor:
    """Of a model that has one. Raises InvalidInput."""
    _expect("the number of inputs", len(request.inputs), 1)
    (name,) = inputs
    _expect("an input", name, INPUT)
    return inputs[INPUT]


def encode(
    request: InferRequest, model: str, version: str, outputs: Mapping[str, npt.NDArray[Any] | list[str]]
) -> tuple[bytes, int | None]:
    """The answer's body, and the length of its JSON where bytes follow it. outputs: by name numbers, or texts."""
    wanted = request.wanted(list(outputs))
    tensors, behind = [], b""
    for name, binary in wanted.items():
        tensor, data = _tensor(name, outputs[name], binary=binary)
        tensors.append(tensor)
        behind += data
    head = msgspec.json.encode(InferResponse(model, version, tensors, request.id))
    return head + behind, len(head) if any(wanted.values()) else None


def _tensor(name: str, values: npt.NDArray[Any] | list[str], *, binary: bool) -> tuple[Tensor, bytes]:
    if isinstance(values, list):
        tensor = Tensor(name, TEXT, [len(values)])
        data = b"".join(len(text).to_bytes(SIZE, "little") + text for text in map(str.encode, values))
        flat: list[Any] = values
    else:
        tensor = Tensor(name, ITEMS[values.dtype], list(values.shape))
        data, flat = values.tobytes(), values.ravel().tolist()
    if not binary:
        tensor.data = flat
        return tensor, b""
    tensor.parameters = {"binary_data_size": len(data)}
    return tensor, data


def _length(header: str | None, size: int) -> int:
    if header is None:
        return size
    if not header.isdecimal() or int(header) > size:
        raise InvalidInput(f"{HEADER_LENGTH}: found {header!r}, expected at most the body's {size} bytes")
    return int(header)


def _parts(tensors: Sequence[Tensor], behind: bytes) -> Iterator[InputTensor]:
    """Each tensor with its bytes; they lie behind the JSON in the tensors' order."""
    start = 0
    for tensor in tensors:
        if tensor.data is not None:
            yield InputTensor(tensor, None)
            continue
        size = tensor.parameters.get("binary_data_size")
        size = size if isinstance(size, int) and size > 0 else 0
        yield InputTensor(tensor, behind[start : start + size])
        start += size
    _expect("bytes behind the JSON", len(behind), start)


def _rows(tensor: Tensor, binary: bytes | None) -> Batch:
    """The tensor's values; those of JSON may be nested or flat."""
    count = math.prod(tensor.shape)
    if binary is not None:
        _expect("binary_data_size", tensor.parameters.get("binary_data_size"), count * ITEM.itemsize)
        _expect(f"bytes of {tensor.name}", len(binary), count * ITEM.itemsize)
        return np.frombuffer(binary, dtype=ITEM).reshape(tensor.shape)
    try:
        values = np.array(tensor.data, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"data of {tensor.name}: expected numbers, flat or nested as the shape says") from error
    _expect(f"values of {tensor.name}", values.size, count)
    return values.reshape(tensor.shape)


def _texts(name: str, binary: bytes) -> Iterator[bytes]:
    """Each has its length before it."""
    start = 0
    while start < len(binary):
        begin = start + SIZE
        size = int.from_bytes(binary[start:begin], "little")
        start = begin + size
        if start > len(binary):
            raise InvalidInput(f"data of {name}: found {len(binary)} bytes, expected texts with their lengths before")
        yield binary[begin:start]


def _expect(what: str, given: object, expected: object, *, is_one_of: bool | None = None) -> None:
    if is_one_of is False or (is_one_of is None and given != expected):
        raise InvalidInput(f"{what}: found {given!r}, expected {expected!r}")
