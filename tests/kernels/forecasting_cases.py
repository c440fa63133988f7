"""Records as they come, well and badly, and a forecasting step that goes on with NumPy alone."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields

import numpy as np
import pytest

from driftline.messages import Alert, Blend, Forecast, Record
from driftline.streams import features, in_sequence
from driftline.streams.definition import StreamDefinition
from driftline.worker import late_truths
from driftline_inference import plausibility, rls, sensor_health
from driftline_inference.step import ForecastStep

KERNELS = (
    (in_sequence, "SEE"),
    (features, "SEE"),
    (features, "INPUTS"),
    (late_truths, "EXPECT"),
    (sensor_health, "ASSESS"),
    (plausibility, "JUDGE"),
    (rls, "LEARN"),
    (rls, "FOLLOW"),
)
STEPS = (0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 40)
"""Ticks from a record to the next: 0 is a second record of a tick."""
Said = Forecast | Alert | Blend


@contextmanager
def numpy_alone() -> Iterator[None]:
    """As where there is no library."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in KERNELS:
            patch.setattr(module, name, None)
        yield


def records(stream: StreamDefinition, seed: int, keys: int = 4, count: int = 400, group: str = "") -> list[Record]:
    """In turn by chance: levels, noise, values that are missing, the same for long, wild, and of another unit."""
    random, period = np.random.default_rng(seed), 1000 * stream.time.period
    ticks, columns = random.integers(-50, 50, keys), len(stream.columns)
    levels = random.normal(size=(keys, columns)) * 10
    sent: list[Record] = []
    for n in range(count):
        key = int(random.integers(keys))
        step = int(random.choice(STEPS))
        ticks[key] += step
        levels[key] += random.normal(size=columns) * 0.1
        values = levels[key] + random.normal(size=columns)
        if n > 0.7 * count:
            values[0] = np.where(key == 0, values[0] * 1000, values[0])
        wild = random.random(columns)
        values = np.where(wild < 0.02, values * 1e6, np.where(wild > 0.9, np.nan, values))
        values[-1] = values[-1] if n % 100 < 50 else 1.0
        # Later within its period than any record of it before.
        t = int(ticks[key]) * period + n % (period // 4)
        row = np.where(np.isnan(values), None, values.astype(object)).tolist()
        sent.append(Record(stream.name, f"k{key}", t, dict(zip(stream.columns, row, strict=True)), 0.0, group))
    return sent


def run(step: ForecastStep, sent: Sequence[Record], sizes: Sequence[int]) -> list[Said]:
    """In batches of these sizes, over and over."""
    emitted: list[Said] = []
    start = batch = 0
    while start < len(sent):
        size = sizes[batch % len(sizes)]
        emitted += [message for part in step.work(sent[start : start + size]) for _, message in part]
        start, batch = start + size, batch + 1
    return emitted


def arrays(step: ForecastStep) -> dict[str, np.ndarray]:
    """Of all tables, by name."""
    return {
        f"{name}.{field.name}": getattr(table, field.name)
        for name, table in step._tables._asdict().items()
        for field in fields(table)
    }


def assert_alike(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    for name, array in expected.items():
        if name == "_pointers":
            continue
        rtol = 1e-5 if array.dtype == np.float32 else 1e-9
        np.testing.assert_allclose(found[name], array, rtol=rtol, atol=1e-9, err_msg=name)


def assert_said(found: Sequence[Said], expected: Sequence[Said]) -> None:
    """The same but for the last digits of what is forecast."""
    assert [_decided(message) for message in found] == [_decided(message) for message in expected]
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, Forecast) and isinstance(other, Forecast):
            for name, row in other.members.items():
                mine, theirs = (np.array(part, dtype=np.float64) for part in (one.members[name], row))
                np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6, err_msg=name)


def _decided(message: Said) -> object:
    if isinstance(message, Alert):
        return message
    assert isinstance(message, Forecast)
    known = {
        name: [value is not None and value == value for value in row]  # noqa: PLR0124
        for name, row in message.members.items()
    }
    return message.key, message.t, message.grid_t, message.observed, list(message.shifts), message.skills, known
