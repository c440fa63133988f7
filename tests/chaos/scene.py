"""The stream that chaos runs on: a definition that is trained in a moment, its history, its records by number.

Pure but for the two files. A record's values depend on the seed, its series and its tick alone, so what is sent again
is the same.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline.streams.rows import Rows
from driftline.streams.tables import encode

PERIOD_MS = 1000
HISTORY = "history.parquet"
HISTORY_TICKS = 1500
HISTORY_KEYS = 3


@dataclass(frozen=True)
class Scene:
    """base: time of tick 0, milliseconds since the epoch. rate: ticks a second."""

    stream: StreamDefinition
    seed: int
    keys: int
    base: int
    rate: float = 1.0

    def name(self, key: int) -> str:
        return f"sensor-{key:04d}"

    def t(self, tick: int) -> int:
        return self.base + tick * PERIOD_MS

    def place(self, key: str, t: int) -> tuple[int, int]:
        """Series and tick of what is called so. Raises ValueError for what was never sent."""
        number, (tick, rest) = int(key.removeprefix("sensor-")), divmod(t - self.base, PERIOD_MS)
        if rest or tick < 0 or not 0 <= number < self.keys:
            raise ValueError(f"found {key}/{t}, expected a name that was sent")
        return number, tick

    def rows(self, keys: range, tick: int) -> Rows:
        """The records of some series at one tick."""
        numbers = np.array(keys)
        return Rows(
            np.array([self.name(key) for key in keys]),
            np.full(len(keys), self.t(tick), dtype=np.int64),
            _values(self.seed, numbers, np.full(len(keys), tick)),
        )


def set_up(
    folder: Path, *, seed: int, keys: int, horizon: tuple[int, ...], window: int, retrain_every: int, base: int
) -> Scene:
    """Writes the definition to folder/streams and the history to folder/data."""
    for name in ("streams", "data"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    path = folder / "streams" / "chaos.yaml"
    path.write_text(yaml.safe_dump(_definition(horizon, window, retrain_every)))
    scene = Scene(load(path), seed, keys, base)
    (folder / "data" / HISTORY).write_bytes(encode(_history(scene), scene.stream))
    return scene


def _definition(horizon: tuple[int, ...], window: int, retrain_every: int) -> dict[str, object]:
    """Any candidate passes its gate: what is tried here is the swap, not the model."""
    return {
        "name": "chaos",
        "time": {"column": "t", "period": "1s"},
        "key": "sensor",
        "target": "value",
        "features": {"load": "level"},
        "lags": 4,
        "horizon": list(horizon),
        "window": window,
        "training": {"units": [8], "networks": 1, "epochs": 1},
        "retraining": {"every": retrain_every, "records": 400, "replay": 100, "epochs": 1},
        "gate": {"parent": 1000.0, "persistence": 1000.0},
    }


def _history(scene: Scene) -> Rows:
    ticks = np.tile(np.arange(-HISTORY_TICKS, 0), HISTORY_KEYS)
    numbers = np.repeat(np.arange(HISTORY_KEYS), HISTORY_TICKS)
    names = np.array([scene.name(number) for number in numbers.tolist()])
    return Rows(names, scene.base + ticks * PERIOD_MS, _values(scene.seed, numbers, ticks))


def _values(seed: int, keys: np.ndarray, ticks: np.ndarray) -> np.ndarray:
    """[n, 2]: a wave of its own for each series, and noise that is drawn anew from the names alone."""
    wave = 10 * np.sin(2 * np.pi * (ticks / 97 + keys * 0.13))
    mixed = np.sin(seed % 1000 + keys * 12.9898 + ticks * 78.233) * 43758.5453
    noise = mixed - np.floor(mixed)
    return np.stack([np.round(20 + wave + noise, 4), np.round(5 + 0.5 * wave + noise**2, 4)], axis=1)
