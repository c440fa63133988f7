"""The answer's two pictures: the error by horizon against the naive forecasts, and a stretch of truth and forecast."""

from pathlib import Path
from zoneinfo import ZoneInfo

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from driftline.members import PERSISTENCE
from driftline.scoring import PUBLISHED
from driftline.streams.definition import StreamDefinition
from driftline_cli.answer import LAST_WEEK, NAIVE, YESTERDAY, Answer, HorizonAnswer, called
from driftline_cli.evaluate import Outcome
from driftline_cli.lengths import roughly
from driftline_cli.plots import COLOURS

RIVALS = {PERSISTENCE: "#c3cad2", YESTERDAY: "#9aa5b1", LAST_WEEK: "#6c7885"}
BAND = "#edae49"
STRETCH = 400
"""Records in the picture of truth and forecast."""
FURTHEST = 0.6
"""How far that picture reaches beyond what both span, as a share of it."""
WIDTH = 0.8
"""Of all bars of a horizon together."""


def draw_answer(folder: Path, answer: Answer, outcomes: list[Outcome], stream: StreamDefinition) -> list[Path]:
    """Writes the two pictures and returns their paths. outcomes: by horizon of the stream."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = max(answer.horizons, key=lambda horizon: horizon.skill)
    figures = {
        "errors.png": _errors(answer),
        "stretch.png": draw_stretch(outcomes[stream.horizon.index(shown.steps)], shown, stream),
    }
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=110)
    return [folder / name for name in figures]


def _blank(title: str) -> tuple[Figure, Axes]:
    mpl.rcParams["axes.spines.top"] = mpl.rcParams["axes.spines.right"] = False
    figure = Figure(figsize=(12, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    return figure, axes


def _errors(answer: Answer) -> Figure:
    """Bars for each horizon: the naive forecasts grey, the blend in its colour with its skill above."""
    figure, axes = _blank(
        f"{answer.stream}: errors by how far ahead (percent: Driftline's against that of the best naive one)"
    )
    names = [name for name in (*NAIVE, PUBLISHED) if any(name in horizon.rmse for horizon in answer.horizons)]
    width = WIDTH / len(names)
    for index, name in enumerate(names):
        known = [(n, horizon) for n, horizon in enumerate(answer.horizons) if name in horizon.rmse]
        left = [n + width * (index - (len(names) - 1) / 2) for n, _ in known]
        heights = [horizon.rmse[name] for _, horizon in known]
        label = "Driftline's forecast" if name == PUBLISHED else called(name)
        axes.bar(left, heights, width * 0.92, label=label, color=RIVALS.get(name) or COLOURS[PUBLISHED])
        if name == PUBLISHED:
            for x, height, (_, horizon) in zip(left, heights, known, strict=True):
                axes.annotate(
                    f"{-100 * horizon.skill:+.0f} %", (x, height), (0, 3), textcoords="offset points", ha="center"
                )
    axes.set_xticks(range(len(answer.horizons)), [f"{roughly(horizon.ahead)} ahead" for horizon in answer.horizons])
    axes.set_ylabel(f"root mean square error of {answer.target}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return figure


def draw_stretch(scored: Outcome, horizon: HorizonAnswer, stream: StreamDefinition) -> Figure:
    """The newest records of the first key whose forecasts met their truth."""
    key = min(scored.keys[np.isfinite(scored.truth)].tolist())
    part = np.flatnonzero((scored.keys == key) & np.isfinite(scored.truth))[-STRETCH:]
    series = f", {key}" if stream.key else ""
    figure, axes = _blank(f"{stream.name}{series}: the truth, and what was forecast {roughly(horizon.ahead)} before it")
    when = (scored.t[part] + 1000 * horizon.ahead).astype("datetime64[ms]")
    axes.fill_between(
        when, scored.lower[part], scored.upper[part], color=BAND, alpha=0.3, linewidth=0, label="90 % interval"
    )
    axes.plot(when, scored.truth[part], color=COLOURS["truth"], linewidth=1.2, label="truth")
    axes.plot(when, scored.forecasts[PUBLISHED][part], color=COLOURS[PUBLISHED], linewidth=1.5, label="forecast")
    zone = ZoneInfo("UTC" if stream.time.zone == "required" else stream.time.zone)
    locator = AutoDateLocator(tz=zone)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))  # type: ignore[no-untyped-call]
    axes.set_xlabel(str(zone))
    axes.set_ylabel(f"{stream.target}, {stream.unit}" if stream.unit else stream.target)
    axes.margins(x=0.01)
    drawn = np.concatenate([scored.truth[part], scored.forecasts[PUBLISHED][part]])
    low, high = float(np.nanmin(drawn)), float(np.nanmax(drawn))
    bottom, top = axes.get_ylim()
    # An interval that is far wider leaves the picture: truth and forecast are to be told apart.
    axes.set_ylim(max(bottom, low - FURTHEST * (high - low)), min(top, high + FURTHEST * (high - low)))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return figure
