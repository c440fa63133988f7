"""docs/gallery.md: streams of different kinds, each with its definition, a picture and its figures.

    python -m scripts.gallery [FOLDER]

Every definition of docs/gallery/ is forecast as `driftline backtest` does it: of the stretch that is used, the first
60 % are history and what follows is streamed. Takes some minutes; downloads load profiles (data/README.md). FOLDER is
where downloads are kept.
"""

import asyncio
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from driftline.scoring import PUBLISHED
from driftline.streams import definition_files, tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli import simbench
from driftline_cli.answer import NAIVE, Answer, HorizonAnswer, Split, answer, called, split, verdict
from driftline_cli.answer_plots import draw_stretch
from driftline_cli.backtest import backtest
from driftline_cli.evaluate import Outcome, outcome
from driftline_cli.lengths import roughly
from driftline_cli.progress import Progress, bars

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "gallery.md"
DEFINITIONS = ROOT / "docs" / "gallery"
PICTURES = ROOT / "docs" / "pictures"
TURBINES = ROOT / "data" / "la-haute-borne.parquet"
FROM, UNTIL = datetime(2014, 11, 15, tzinfo=UTC), datetime(2015, 2, 1, tzinfo=UTC)
"""The stretch of the turbines' data that is used."""
STREAMED = {True: 4 * 14 * 144, False: 28 * 96}
"""Records that are streamed at most: two weeks of four turbines, four weeks of a load profile."""
COLOURS, DPI = 48, 80
"""What keeps the pictures small."""
HEAD = """\
# Gallery

Six streams of different kinds, each with its definition, the newest stretch of its forecasts, and its errors.
`make gallery` writes this page and its pictures; nothing here is typed by hand. All data are real: [their sources and
licences](../data/README.md).

Each stream is forecast as [`driftline backtest`](backtest.md) does it: the first 60 % of the records are history, and
of those after it the first two weeks (turbines) or four weeks (load profiles) are streamed through the services' own
code. The tables have the root mean square error in the target's unit, on the same records; the skill is against the
best naive forecast of the row. `inside` is the share of the truths inside the 90 % interval. The runs are short, so a
skill may differ from that of a whole year: [accuracy](accuracy.md) has those.
"""


@dataclass(frozen=True)
class GalleryStream:
    """What makes a stream worth a look. name: its definition's file, without the ending."""

    name: str
    title: str
    about: str

    @property
    def file(self) -> Path:
        return DEFINITIONS / f"{self.name}.yaml"

    @property
    def picture(self) -> Path:
        return PICTURES / f"gallery-{self.name}.png"


STREAMS = (
    GalleryStream(
        "outdoor-temperature",
        "Weather: outdoor temperature",
        "A smooth value with a daily course, at four places. The turbines' power and wind help a little.",
    ),
    GalleryStream(
        "active-power",
        "Generation: active power of wind turbines",
        "A value that follows the wind, is often near zero or at its limit, and has no reliable daily course.",
    ),
    GalleryStream(
        "wind-speed",
        "Neighbours: wind speed at four places",
        "A restless value. The four series see each other's values of the same time and are forecast together.",
    ),
    GalleryStream(
        "household",
        "Load: a household",
        "Peaks in the morning and in the evening, and other weekends than workdays.",
    ),
    GalleryStream(
        "workshop",
        "Workdays: a business from Monday to Friday",
        "The calendar matters most: weekends and holidays are flat.",
    ),
    GalleryStream(
        "heat-pump",
        "Heat: a heat pump",
        "A load that follows the season and runs in cycles; it is nearly zero for the warm part of the year.",
    ),
)


@dataclass(frozen=True)
class GalleryEntry:
    """A stream that was forecast. inside: by horizon the share of the truths inside the 90 % interval."""

    kind: GalleryStream
    answer: Answer
    inside: Sequence[float]


def show(kind: GalleryStream, cache: Path, progress: Progress) -> GalleryEntry:
    """Forecasts one stream and draws its picture. Raises Unavailable where its data can't be downloaded."""
    stream = definition_files.load(kind.file)
    parts = split(_rows(stream, cache), STREAMED[stream.key is not None])
    outcomes = _forecast(stream, parts, progress)
    given = answer(stream, parts, outcomes)
    shown = given.horizons[-1]
    kind.picture.write_bytes(_png(draw_stretch(outcomes[stream.horizon.index(shown.steps)], shown, stream)))
    inside = [_inside(outcomes[stream.horizon.index(horizon.steps)]) for horizon in given.horizons]
    return GalleryEntry(kind, given, inside)


def _rows(stream: StreamDefinition, cache: Path) -> Rows:
    if stream.key is None:
        return simbench.read(simbench.table(cache), [stream])[0]
    rows = tables.read_file(TURBINES, stream)
    begin, end = (1000 * moment.timestamp() for moment in (FROM, UNTIL))
    return rows.take((rows.t >= begin) & (rows.t < end))


def _forecast(stream: StreamDefinition, parts: Split, progress: Progress) -> list[Outcome]:
    def of_stream(what: str, done: int, total: int) -> None:
        progress(f"{stream.name}: {what}", done, total)

    run = asyncio.run(backtest(stream, parts.history, parts.streamed, progress=of_stream))
    return [outcome(run.collected.blends, index, stream) for index in range(len(stream.horizon))]


def _inside(scored: Outcome) -> float:
    known = np.isfinite(scored.truth) & np.isfinite(scored.lower) & np.isfinite(scored.upper)
    truth, lower, upper = scored.truth[known], scored.lower[known], scored.upper[known]
    return float(np.mean((lower <= truth) & (truth <= upper)))


def _png(figure: Figure) -> bytes:
    """Small, with a palette."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, dpi=DPI)
    Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def render(shown: Sequence[GalleryEntry]) -> str:
    """The page."""
    return "\n".join([HEAD, *(line for stream in shown for line in _section(stream))])


def _section(shown: GalleryEntry) -> Iterator[str]:
    kind = shown.kind
    ahead = roughly(shown.answer.horizons[-1].ahead)
    picture = kind.picture.relative_to(PAGE.parent).as_posix()
    yield from [f"## {kind.title}", "", kind.about, ""]
    yield from [f"![{kind.title}: the truth, and what was forecast {ahead} before it]({picture})", ""]
    yield from [verdict(shown.answer), ""]
    yield from _table(shown)
    definition = kind.file.read_text(encoding="utf-8").rstrip()
    yield from [
        "",
        f"[Its definition]({kind.file.relative_to(PAGE.parent).as_posix()}):",
        "",
        "```yaml",
        definition,
        "```",
        "",
    ]


def _table(shown: GalleryEntry) -> Iterator[str]:
    head = ["ahead", *map(called, NAIVE), "Driftline", "skill", "inside"]
    rows = [_cells(horizon, share) for horizon, share in zip(shown.answer.horizons, shown.inside, strict=True)]
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cells)} |"


def _cells(horizon: HorizonAnswer, inside: float) -> list[str]:
    naive = [f"{horizon.rmse[name]:.4g}" if name in horizon.rmse else "-" for name in NAIVE]
    return [
        roughly(horizon.ahead),
        *naive,
        f"**{horizon.rmse[PUBLISHED]:.4g}**",
        f"{horizon.skill:+.3f}",
        f"{round(100 * inside)} %",
    ]


def main() -> None:
    cache = Path(sys.argv[1]) if len(sys.argv) > 1 else simbench.cache_folder()
    with bars(Console()) as progress:
        shown = [show(kind, cache, progress) for kind in STREAMS]
    PAGE.write_text(render(shown), encoding="utf-8")


if __name__ == "__main__":
    main()
