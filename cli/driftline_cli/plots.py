"""The demo's pictures: truth against forecasts, weights over time, rolling error, with drift and swap marks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from driftline.arrays import Floats
from driftline.members import PERSISTENCE
from driftline.messages import Blend
from driftline.scoring import PUBLISHED
from driftline.streams.definition import StreamDefinition
from driftline_cli.evaluate import Outcome, common
from driftline_cli.lengths import in_words
from driftline_cli.report import unit_of

COLOURS = {
    "truth": "#222222",
    PUBLISHED: "#d1495b",
    PERSISTENCE: "#9aa5b1",
    "seasonal": "#8d96a3",
    "weekly": "#b08968",
    "rls": "#66a182",
    "stack": "#2e6f57",
    "batch": "#2e6f95",
    "speed": "#edae49",
}
SPARE = ("#7b5ea7", "#4c956c", "#bc6c25", "#577590")
ROLLING = 500
"""Records of one key that the rolling error looks back on."""
MS_PER_DAY = 86_400_000.0
"""Matplotlib counts days since the epoch."""
CLOSE_UP = 432
"""Records in the close-up of the forecasts: three days of 10 minutes."""


@dataclass(frozen=True)
class Marks:
    """Times, in milliseconds since the epoch, that the pictures mark."""

    drifts: Sequence[int] = ()
    """Where the data were made to drift."""
    alerts: Sequence[int] = ()
    swaps: Sequence[int] = ()


FURTHEST = 1.5
"""How far the picture of errors reaches, in persistence's largest."""


def draw(folder: Path, scored: Outcome, blends: Sequence[Blend], marks: Marks, stream: StreamDefinition) -> list[Path]:
    """Writes the three pictures for the first key and returns their paths. scored: at the farthest horizon."""
    key, steps, unit = str(scored.keys[0]), stream.horizon[-1], unit_of(stream)
    title, of_key = f"{key}, {in_words(steps * stream.time.period)} ahead", scored.keys == key
    series = Outcome(
        scored.keys[of_key],
        scored.t[of_key],
        scored.truth[of_key],
        {name: row[of_key] for name, row in scored.forecasts.items()},
        scored.lower[of_key],
        scored.upper[of_key],
    )
    folder.mkdir(parents=True, exist_ok=True)
    weights = _weights([blend for blend in blends if blend.key == key], steps)
    pictures = {
        "forecasts.png": _forecasts(series, marks, unit, title),
        "weights.png": _stack(series.t, weights, marks, title),
        "rolling-error.png": _errors(series, marks, unit, title),
    }
    for name, figure in pictures.items():
        figure.savefig(folder / name, dpi=110)
    return [folder / name for name in pictures]


def _figure(title: str) -> tuple[Figure, Axes]:
    mpl.rcParams["axes.spines.top"] = mpl.rcParams["axes.spines.right"] = False
    figure = Figure(figsize=(12, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    return figure, axes


def _colour(name: str, names: Sequence[str]) -> str:
    return COLOURS.get(name) or SPARE[list(names).index(name) % len(SPARE)]


def _dates(t: np.typing.NDArray[np.int64]) -> np.typing.NDArray[np.datetime64]:
    return t.astype("datetime64[ms]")


def _mark(axes: Axes, marks: Marks, first: int, last: int) -> None:
    kinds = (
        ("swap", marks.swaps, "#edae49", ":"),
        ("drift alert", marks.alerts, "#d1495b", "-"),
        ("the data drift", marks.drifts, "#222222", "--"),
    )
    for label, times, colour, style in kinds:
        inside = [t for t in times if first <= t <= last]
        for index, t in enumerate(inside):
            axes.axvline(
                t / MS_PER_DAY,
                color=colour,
                linestyle=style,
                linewidth=1,
                alpha=0.6,
                label=label if index == 0 else None,
            )


def _legend(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _forecasts(series: Outcome, marks: Marks, unit: str, title: str) -> Figure:
    """The last days: what was forecast, drawn beside the truth that it was meant for."""
    figure, axes = _figure(f"{title}: the truth, the members and the blend (the last {CLOSE_UP} records)")
    part = slice(-CLOSE_UP, None)
    when = _dates(series.t[part])
    names = [name for name in series.forecasts if name not in (PUBLISHED, "static", "window", "online")]
    for name in names:
        axes.plot(when, series.forecasts[name][part], color=_colour(name, names), linewidth=0.9, label=name)
    axes.plot(when, series.forecasts[PUBLISHED][part], color=COLOURS[PUBLISHED], linewidth=1.8, label=PUBLISHED)
    axes.plot(when, series.truth[part], color=COLOURS["truth"], linewidth=1.2, label="truth")
    _mark(axes, marks, int(series.t[part][0]), int(series.t[-1]))
    axes.set_ylabel(unit)
    _legend(axes)
    return figure


def _weights(blends: Sequence[Blend], steps: int) -> dict[str, Floats]:
    """Per member its weight in the published blend at each record."""
    ordered = sorted({blend.t: blend for blend in blends}.values(), key=lambda blend: blend.t)
    names = dict.fromkeys(name for blend in ordered for name in blend.weights)
    weights: dict[str, Floats] = {}
    for name in names:
        by_horizon = [blend.weights.get(name, [0.0] * len(blend.horizon)) for blend in ordered]
        columns = [blend.horizon.index(steps) for blend in ordered]
        weights[name] = np.array(
            [row[column] for row, column in zip(by_horizon, columns, strict=True)], dtype=np.float64
        )
    return weights


def _stack(t: np.typing.NDArray[np.int64], weights: Mapping[str, Floats], marks: Marks, title: str) -> Figure:
    figure, axes = _figure(f"{title}: what the blend is made of")
    names = list(weights)
    colours = [_colour(name, names) for name in names]
    axes.stackplot(_dates(t), [np.nan_to_num(weights[name]) for name in names], labels=names, colors=colours, alpha=0.9)
    _mark(axes, marks, int(t[0]), int(t[-1]))
    axes.set_ylim(0, 1)
    axes.set_ylabel("weight")
    _legend(axes)
    return figure


def _errors(series: Outcome, marks: Marks, unit: str, title: str) -> Figure:
    figure, axes = _figure(f"{title}: root mean square error over the last {ROLLING} records")
    mask = common(series)
    when, truth = _dates(series.t[mask]), series.truth[mask]
    names = [name for name in series.forecasts if name != PUBLISHED]
    for name in [*names, PUBLISHED]:
        rolling = rolling_error((series.forecasts[name][mask] - truth) ** 2)
        width = 2.0 if name == PUBLISHED else 1.0
        style = "--" if name in ("static", "window", "online") else "-"
        axes.plot(when, rolling, color=_colour(name, names), linewidth=width, linestyle=style, label=name)
    _mark(axes, marks, int(series.t[0]), int(series.t[-1]))
    axes.set_ylabel(unit)
    # Who is far worse than repeating the last value leaves the picture: the others are to be told apart.
    furthest = np.nanmax(rolling_error((series.forecasts[PERSISTENCE][mask] - truth) ** 2), initial=0.0)
    axes.set_ylim(0, FURTHEST * furthest or None)
    _legend(axes)
    return figure


def rolling_error(squares: Floats) -> Floats:
    """Root of the mean over those of the last ROLLING values that are known; NaN until there are as many, and where
    fewer than half of them are known, as of a member that needs a week behind it."""
    total, known = np.cumsum(np.nan_to_num(squares)), np.cumsum(np.isfinite(squares))
    mean = np.full(len(squares), np.nan)
    if len(squares) > ROLLING:
        sums, counts = total[ROLLING:] - total[:-ROLLING], known[ROLLING:] - known[:-ROLLING]
        np.divide(sums, counts, out=mean[ROLLING:], where=counts >= ROLLING / 2)
    root: Floats = np.sqrt(mean)
    return root
