"""The one seam to the TensorFlow Lite runtime. An interpreter is not thread-safe: one owner each."""

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter as Runtime

from driftline.errors import RefusedModel
from driftline.manifest import PARITY, Golden

Batch = npt.NDArray[np.float32]

SMALLEST_BATCH = 8
"""Batches are padded to this or the next power of two, so that the tensors are rarely laid out anew."""


class Interpreter:
    """A loaded model: float32 rows in, float32 rows out.

    Raises RefusedModel: "flex" for operators of full TensorFlow, which the edge lacks; "load" for whatever else the
    runtime can't use; "shape" for anything but one two-dimensional input of any number of rows.
    """

    def __init__(self, model: bytes) -> None:
        try:
            self._runtime = Runtime(model_content=model, num_threads=1)
            self._runtime.allocate_tensors()
            (self._input,) = self._runtime.get_input_details()
            (self._output,) = self._runtime.get_output_details()
        except (ValueError, RuntimeError) as error:
            reason = "flex" if "Flex" in str(error) or "Select TensorFlow op" in str(error) else "load"
            raise RefusedModel(reason, f"the runtime can't load it: {error}") from error
        signature = tuple(int(size) for size in self._input["shape_signature"])
        if len(signature) != 2 or signature[0] != -1 or self._input["dtype"] is not np.float32:  # noqa: PLR2004
            raise RefusedModel("shape", f"found input {signature}, expected float32 [any number, features]")
        self.width = signature[1]
        self.outputs = int(self._output["shape"][-1])
        self._rows = 0

    def run(self, inputs: Batch) -> Batch:
        """inputs: [n, width] raw features. Returns [n, outputs]."""
        n = len(inputs)
        padded = max(SMALLEST_BATCH, 1 << (n - 1).bit_length())
        if padded != self._rows:
            self._runtime.resize_tensor_input(self._input["index"], [padded, self.width])
            self._runtime.allocate_tensors()
            self._rows = padded
        tensor = np.zeros((padded, self.width), dtype=np.float32)
        tensor[:n] = inputs
        self._runtime.set_tensor(self._input["index"], tensor)
        self._runtime.invoke()
        output: Batch = self._runtime.get_tensor(self._output["index"])
        return output[:n]


def check_golden(interpreter: Interpreter, golden: Golden) -> None:
    """Raises RefusedModel ("golden") unless the golden inputs give the golden outputs, in a batch and row by row."""
    inputs = np.array(golden.inputs, dtype=np.float32).reshape(-1, interpreter.width)
    expected = np.array(golden.outputs, dtype=np.float32).reshape(-1, interpreter.outputs)
    tolerance = PARITY * max(1.0, float(np.abs(expected).max(initial=0.0)))
    single = np.concatenate([interpreter.run(row[None, :]) for row in inputs])
    for how, found in (("in a batch", interpreter.run(inputs)), ("row by row", single)):
        difference = np.abs(found - expected).max(initial=0.0)
        if not difference <= tolerance:
            raise RefusedModel(
                "golden", f"golden outputs differ by {difference:g} {how}, expected at most {tolerance:g}"
            )
