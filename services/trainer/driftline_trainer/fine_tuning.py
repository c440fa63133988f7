"""What a fine-tuning goes on from: a network's weights, its scaling, and a sample of what it has learned from."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from driftline.arrays import Ints
from driftline.errors import RefusedModel
from driftline_trainer.dataset import Batch, Dataset

INPUT_CLIP = 6.0
TARGET_CLIP = 8.0
RENEWED = 0.1
"""Share of the replay sample that a fine-tuning replaces by newest rows."""


@dataclass(frozen=True)
class Scaling:
    """How raw inputs and targets become what the network sees. mean, deviation: [features]; target: [horizons]."""

    mean: Batch
    deviation: Batch
    target: Batch

    def inputs(self, raw: Batch) -> Batch:
        scaled: Batch = np.clip((raw - self.mean) / self.deviation, -INPUT_CLIP, INPUT_CLIP)
        return scaled

    def targets(self, raw: Batch) -> Batch:
        scaled: Batch = np.clip(raw / self.target, -TARGET_CLIP, TARGET_CLIP)
        return scaled


@dataclass(frozen=True)
class Replay:
    """A sample of what was learned from before, kept with the weights: who learns the newest must not forget the rest.
    As the network sees it: inputs [n, features], targets [n, horizons]."""

    inputs: Batch
    targets: Batch

    @classmethod
    def of(cls, data: Dataset, scaling: Scaling, which: Ints) -> "Replay":
        """The rows `which` of the data."""
        return cls(scaling.inputs(data.inputs[which]), scaling.targets(data.targets[which]))

    def renewed(self, newest: "Replay", random: np.random.Generator) -> "Replay":
        """With some of the newest rows in places of its own."""
        n = min(len(newest.inputs), max(1, int(RENEWED * len(self.inputs))), len(self.inputs))
        places, rows = random.permutation(len(self.inputs))[:n], random.permutation(len(newest.inputs))[:n]
        inputs, targets = self.inputs.copy(), self.targets.copy()
        inputs[places], targets[places] = newest.inputs[rows], newest.targets[rows]
        return Replay(inputs, targets)


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
