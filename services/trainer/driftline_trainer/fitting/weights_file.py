"""weights.npz: what a fine-tuning goes on from, which is a network's weights, its scaling and its replay sample."""

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from driftline.errors import RefusedModel
from driftline_trainer.fitting.replay import Replay
from driftline_trainer.fitting.scaling import Scaling


def pack(arrays: Sequence[Any], scaling: Scaling, replay: Replay) -> bytes:
    """weights.npz. arrays: the network's weights."""
    sink = io.BytesIO()
    named: dict[str, Any] = {f"weight_{n:03d}": array for n, array in enumerate(arrays)}
    # Half as many bits are enough for a scaled number.
    named |= {"replay_inputs": replay.inputs.astype(np.float16), "replay_targets": replay.targets.astype(np.float16)}
    np.savez(sink, mean=scaling.mean, deviation=scaling.deviation, target=scaling.target, **named)
    return sink.getvalue()


def unpack(weights: bytes) -> tuple[list[Any], Scaling, Replay]:
    """What `pack` was given. Raises RefusedModel."""
    try:
        return _unpack(weights)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RefusedModel("parent", f"found weights that can't be read, expected an .npz file: {error}") from error


def _unpack(weights: bytes) -> tuple[list[Any], Scaling, Replay]:
    with np.load(io.BytesIO(weights), allow_pickle=False) as saved:
        arrays = [saved[name] for name in sorted(saved.files) if name.startswith("weight_")]
        scaling = Scaling(saved["mean"], saved["deviation"], saved["target"])
        replay = (saved[name].astype(np.float32) for name in ("replay_inputs", "replay_targets"))
        return arrays, scaling, Replay(*replay)
