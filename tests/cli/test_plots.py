"""The demo's pictures are drawn, and a member that is known late has no error before."""

from pathlib import Path

import numpy as np

from driftline.messages import Blend
from driftline.streams.definition_files import parse
from driftline_cli.evaluate import Outcome
from driftline_cli.plots import ROLLING, Marks, draw, rolling_error

HOUR = 3_600_000
N = 3 * ROLLING
STREAM = parse(
    "name: tank\ntime: {column: time, zone: UTC, period: 1h}\ntarget: level\ncolumns: {level: {unit: cm}}\n",
    "tank.yaml",
)


def test_an_error_begins_when_half_of_what_it_looks_back_on_is_known():
    squares = np.full(N, 4.0)
    squares[:ROLLING] = np.nan
    rolling = rolling_error(squares)
    begin = ROLLING + ROLLING // 2 - 1
    assert np.isnan(rolling[:begin]).all()
    np.testing.assert_allclose(rolling[begin:], 2.0)


def test_a_few_unknown_errors_change_none():
    squares = np.full(N, 4.0)
    squares[::10] = np.nan
    np.testing.assert_allclose(rolling_error(squares)[ROLLING:], 2.0)


def test_the_three_pictures_are_drawn(tmp_path: Path):
    t = HOUR * np.arange(N)
    values = np.sin(t / HOUR)
    forecasts = {"persistence": values + 1, "weekly": np.where(t < 700 * HOUR, np.nan, values), "blend": values}
    scored = Outcome(np.full(N, "a"), t, values, forecasts, values - 1, values + 1)
    weights = {"persistence": [0.25], "weekly": [0.75]}
    blends = [Blend("tank", "a", int(when), 0.0, [1], [0.0], "online", {}, weights, {}, {}, 0.0) for when in t]
    marks = Marks(drifts=[N // 2 * HOUR], alerts=[N // 2 * HOUR], swaps=[HOUR])
    drawn = draw(tmp_path / "report", scored, blends, marks, STREAM)
    assert [path.name for path in drawn] == ["forecasts.png", "weights.png", "rolling-error.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
