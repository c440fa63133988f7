"""What a release kept of its series: states as its workers saved them, and what it forecast next.

`states-0.1.0.msgpack.xz` was written by release 0.1.0, installed in an environment of its own, with
`python -m tests.upgrade.kept tests/upgrade/states-0.1.0.msgpack.xz`. Later releases only read it.
"""

import lzma
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.bus.port import Envelope
from driftline.messages import Forecast, Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.features import Inputs
from driftline.worker.keyed import KeyedStep
from driftline_combiner.scores import scores
from driftline_combiner.step import BlendStep
from driftline_inference.step import ForecastStep

RELEASED = Path(__file__).parent / "states-0.1.0.msgpack.xz"
DEFINITION = """\
name: kept
time: {column: t, period: 10min}
key: id
target: y
features: {x: level, direction: angle}
lags: 3
horizon: [1, 6]
patience: 4
weighting: {window: 100}
"""
PERIOD_MS = 600_000
BEGIN_MS = 1_700_006_400_000
"""A midnight; the second series keeps to three minutes past every tenth minute."""
KEYS = {"north": 0, "south": 180_000}
LEARNED, NEXT = 400, 50
"""Records of each series before its state was saved, and after."""
MISSING = {17, 101, 102, 250, 397}
"""Without a target; the last is recent enough for its truth to come."""


class Trend:
    """A model: the target goes on moving half as far as it has just moved."""

    version = "v000001-trend"

    @property
    def skills(self) -> list[float]:
        return []

    def forecast(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """[n, 2]."""
        move = inputs.last - inputs.newest[:, 1, 0]
        return inputs.last[:, None] + move[:, None] * np.array([0.5, 0.2])


class Scores(msgspec.Struct, frozen=True):
    """Of a member or strategy at one horizon. n: records scored."""

    n: int
    rmse: float


class Kept(msgspec.Struct, frozen=True):
    """By key, but for the lists of messages, which are in order of time."""

    forecast_states: dict[str, bytes]
    blend_states: dict[str, bytes]
    scores: dict[str, list[dict[str, Scores]]]
    """When the states were saved: per horizon."""
    forecasts: list[Forecast]
    """Of the records after."""


def stream() -> StreamDefinition:
    return parse(DEFINITION, "kept.yaml")


def records() -> list[Record]:
    """Of both series, in order of time: a daily course, a column that goes ahead of it, and a direction."""
    random = np.random.default_rng(7)
    count = LEARNED + NEXT
    day = 2 * np.pi * np.arange(count) / 144
    course: list[Record] = []
    for key, late in KEYS.items():
        noise = np.zeros(count)
        for n in range(1, count):
            noise[n] = 0.9 * noise[n - 1] + random.normal(0, 0.3)
        y = 10 + 4 * np.sin(day) + np.sin(2 * day) + noise
        x = 50 + 5 * np.roll(y, -1) + random.normal(0, 1, count)
        direction = np.cumsum(random.normal(0, 10, count)) % 360
        for n in range(count):
            values = {
                "y": None if n in MISSING else round(float(y[n]), 3),
                "x": None if n % 97 == 3 else round(float(x[n]), 3),
                "direction": round(float(direction[n]), 1),
            }
            course.append(Record("kept", key, BEGIN_MS + n * PERIOD_MS + late, values, 0.0))
    return sorted(course, key=lambda record: record.t)


def learned() -> list[Record]:
    return records()[: LEARNED * len(KEYS)]


def following() -> list[Record]:
    return records()[LEARNED * len(KEYS) :]


def forecast_step(definition: StreamDefinition | None = None) -> ForecastStep:
    models = {("kept", "batch"): Trend()}
    return ForecastStep(definition or stream(), lambda: models)


def blend_step(definition: StreamDefinition | None = None) -> BlendStep:
    return BlendStep(definition or stream(), lambda _stream, _kind: None)


def forecasts_of(step: KeyedStep[Record], sent: Sequence[Record]) -> list[Forecast]:
    outputs = step.step([Envelope(0, n, record.t / 1000, record) for n, record in enumerate(sent)])
    return [output.message for output in outputs if isinstance(output.message, Forecast)]


def combine(step: KeyedStep[Forecast], forecasts: Sequence[Forecast]) -> None:
    step.step([Envelope(0, n, forecast.t / 1000, forecast) for n, forecast in enumerate(forecasts)])


def scores_of(blends: BlendStep, key: str) -> list[dict[str, Scores]]:
    return [{name: Scores(int(row.n), row.rmse) for name, row in rows.items()} for rows in scores(blends.sums(key))]


def keep() -> Kept:
    """What this release makes of the records."""
    forecast_steps, blend_steps = forecast_step(), blend_step()
    inference = KeyedStep({"kept": forecast_steps}, lambda _stream, _reason: None)
    combiner = KeyedStep({"kept": blend_steps}, lambda _stream, _reason: None)
    combine(combiner, forecasts_of(inference, learned()))
    states = (inference.snapshot(0), combiner.snapshot(0))
    forecast_states, blend_states = (
        {name.partition("/")[2]: state for name, state in part.items() if state is not None} for part in states
    )
    before = {key: scores_of(blend_steps, key) for key in KEYS}
    return Kept(forecast_states, blend_states, before, forecasts_of(inference, following()))


def load(path: Path = RELEASED) -> Kept:
    return msgspec.msgpack.decode(lzma.decompress(path.read_bytes()), type=Kept)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(lzma.compress(msgspec.msgpack.encode(keep()), preset=9))
