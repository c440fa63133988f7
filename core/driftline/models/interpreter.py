"""The one seam to the TensorFlow Lite runtime. An interpreter is not thread-safe: one owner each."""

from math import prod

import numpy as np
import numpy.typing as npt

from driftline.errors import EdgeRefusal, RefusedModel
from driftline.models.manifest import PARITY, Golden

try:
    from ai_edge_litert.interpreter import Interpreter as Runtime
except ImportError:
    # What older systems have. It needs numpy 1.
    from tflite_runtime.interpreter import Interpreter as Runtime

Batch = npt.NDArray[np.float32]

SMALLEST_BATCH = 8
"""Batches are padded to this or the next power of two, so that the tensors are rarely laid out anew."""


class Interpreter:
    """A loaded model: float32 rows in, float32 rows out.

    A model that takes any number of rows gets whole batches. One that was made for a single row gets them one by one:
    resizing it would be accepted, and would compute the first row alone.

    Raises RefusedModel: "flex" for operators of full TensorFlow, which the edge lacks; "load" for whatever else the
    runtime can't use; "type" for numbers other than float32; "shape" for anything but one input of any number of rows,
    or of one, and one output.
    """

    def __init__(self, model: bytes) -> None:
        try:
            self._runtime = Runtime(model_content=model, num_threads=1)
            self._runtime.allocate_tensors()
            (self._input,) = self._runtime.get_input_details()
            (self._output,) = self._runtime.get_output_details()
        except (ValueError, RuntimeError) as error:
            reason: EdgeRefusal = "flex" if "Flex" in str(error) or "Select TensorFlow op" in str(error) else "load"
            raise RefusedModel(reason, f"the runtime can't load it: {error}") from error
        types = [np.dtype(end["dtype"]).name for end in (self._input, self._output)]
        if types != ["float32", "float32"]:
            raise RefusedModel(
                "type", f"found an input of {types[0]} and an output of {types[1]}, expected float32 for both"
            )
        self.input_shape = tuple(int(size) for size in self._input["shape_signature"])
        rows, *self._row = self.input_shape or (0,)
        if rows not in {-1, 1} or not self._row or min(self._row) < 1:
            raise RefusedModel("shape", f"found input {self.input_shape}, expected [any number or 1, features]")
        self.width = prod(self._row)
        self.outputs = prod(int(size) for size in self._output["shape"][1:])
        self._any_number = rows == -1
        self._rows = 1

    def run(self, inputs: Batch) -> Batch:
        """inputs: [n, width] rows. Returns [n, outputs]."""
        if self._any_number:
            return self._run(inputs)
        return np.concatenate([self._run(row[None]) for row in inputs] or [np.empty((0, self.outputs), np.float32)])

    def _run(self, inputs: Batch) -> Batch:
        n = len(inputs)
        padded = max(SMALLEST_BATCH, 1 << (n - 1).bit_length()) if self._any_number else 1
        if padded != self._rows:
            self._runtime.resize_tensor_input(self._input["index"], [padded, *self._row])
            self._runtime.allocate_tensors()
            self._rows = padded
        tensor = np.zeros((padded, self.width), dtype=np.float32)
        tensor[:n] = inputs
        self._runtime.set_tensor(self._input["index"], tensor.reshape(padded, *self._row))
        self._runtime.invoke()
        output: Batch = self._runtime.get_tensor(self._output["index"])
        return output.reshape(padded, self.outputs)[:n]


def check_golden(interpreter: Interpreter, golden: Golden) -> None:
    """Raises RefusedModel ("golden") unless the golden inputs give the golden outputs, in a batch and row by row."""
    inputs = np.array(golden.inputs, dtype=np.float32).reshape(-1, interpreter.width)
    expected = np.array(golden.outputs, dtype=np.float32).reshape(-1, interpreter.outputs)
    tolerance = PARITY * max(1.0, float(np.abs(expected).max(initial=0.0)))
    single = np.concatenate([interpreter.run(row[None, :]) for row in inputs])
    for how, outputs in (("in a batch", interpreter.run(inputs)), ("row by row", single)):
        difference = np.abs(outputs - expected).max(initial=0.0)
        if not difference <= tolerance:
            raise RefusedModel(
                "golden", f"golden outputs differ by {difference:g} {how}, expected at most {tolerance:g}"
            )
