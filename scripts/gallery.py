"""docs/gallery.md: streams of different kinds, each with its definition, a picture and its figures.

    python -m scripts.gallery [FOLDER]

Every definition of docs/gallery/ is forecast as `driftline backtest` does it: of the stretch that is used, the first
60 % are history, and the records after it are streamed. Takes some minutes; downloads load profiles (data/README.md).
FOLDER is where downloads are kept.
"""

import asyncio
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from textwrap import fill

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
WINTER_2014 = datetime(2014, 12, 1, tzinfo=UTC), datetime(2015, 2, 1, tzinfo=UTC)
WINTER_2016 = datetime(2015, 12, 31, 23, tzinfo=UTC), datetime(2016, 3, 9, 23, tzinfo=UTC)
"""Ten weeks of the load profiles, in which a heat pump runs."""
STREAMED = {"turbines": 4 * 14 * 144, "profiles": 28 * 96}
"""Records that are streamed at most: two weeks of four turbines, four weeks of a load profile."""
COLOURS, DPI = 48, 80
"""What keeps the pictures small."""
WIDTH = 125
"""Of a line of the page."""
HEAD = """\
# Gallery

Streams of different kinds, each with its definition, the newest stretch of its forecasts, and its errors.
`make gallery` writes this page and its pictures; nothing here is typed by hand. All data are open: [their sources and
licences](../data/README.md).

Each stream is forecast as [`driftline backtest`](backtest.md) does it: the first 60 % of the records are history, and
of those after it the first two weeks (turbines) or four weeks (load profiles) are streamed through the services' own
code. The tables have root mean square errors in the target's unit, on the same records. The skill is against the best
naive forecast of the row: 0.31 is an error that is 31 % smaller. `inside` is the share of the truths inside the 90 %
interval. The runs are short; [accuracy](accuracy.md) has the figures of a whole year.
"""


@dataclass(frozen=True)
class GalleryStream:
    """What makes a stream worth a look. name: its definition's file, without the ending. stretch: the data used."""

    name: str
    title: str
    about: str
    stretch: tuple[datetime, datetime]

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
        WINTER_2014,
    ),
    GalleryStream(
        "active-power",
        "Generation: active power of wind turbines",
        "A value that follows the wind, is often near zero or at its limit, and has no reliable daily course. "
        "Its `range` keeps every interval between standstill and full power.",
        WINTER_2014,
    ),
    GalleryStream(
        "wind-speed",
        "Neighbours: wind speed at four places",
        "A restless value. The four series see each other's values of the same time and are forecast together.",
        WINTER_2014,
    ),
    GalleryStream(
        "household",
        "Load: a household",
        "Peaks in the morning and in the evening, and weekends that differ from workdays.",
        WINTER_2016,
    ),
    GalleryStream(
        "workshop",
        "Workdays: a business from Monday to Friday",
        "The calendar matters most: weekends and holidays are flat.",
        WINTER_2016,
    ),
    GalleryStream(
        "heat-pump",
        "Heat: a heat pump",
        "It is on or off, in cycles of a few hours, and runs in winter alone: these are January to March.",
        WINTER_2016,
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
    begin, end = (1000 * moment.timestamp() for moment in kind.stretch)
    rows = _rows(stream, cache)
    parts = split(rows.take((rows.t >= begin) & (rows.t < end)), STREAMED[_source(stream)])
    outcomes = _forecast(stream, parts, progress)
    given = answer(stream, parts, outcomes)
    farthest = given.horizons[-1]
    kind.picture.write_bytes(_png(draw_stretch(outcomes[stream.horizon.index(farthest.steps)], farthest, stream)))
    inside = [_inside(outcomes[stream.horizon.index(horizon.steps)]) for horizon in given.horizons]
    return GalleryEntry(kind, given, inside)


def _source(stream: StreamDefinition) -> str:
    """Load profiles are of one series each."""
    return "turbines" if stream.key else "profiles"


def _rows(stream: StreamDefinition, cache: Path) -> Rows:
    if _source(stream) == "turbines":
        return tables.read_file(TURBINES, stream)
    return simbench.read(simbench.table(cache), [stream])[0]


def _forecast(stream: StreamDefinition, parts: Split, progress: Progress) -> list[Outcome]:
    def of_stream(step: str, done: int, total: int) -> None:
        progress(f"{stream.name}: {step}", done, total)

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


def render(entries: Sequence[GalleryEntry]) -> str:
    """The page."""
    return "\n".join([HEAD, *(line for entry in entries for line in _section(entry))])


def _section(entry: GalleryEntry) -> Iterator[str]:
    kind = entry.kind
    ahead = roughly(entry.answer.horizons[-1].ahead)
    picture = kind.picture.relative_to(PAGE.parent).as_posix()
    yield from [f"## {kind.title}", "", fill(kind.about, WIDTH), ""]
    yield from [f"![{kind.title}: the truth, and what was forecast {ahead} before it]({picture})", ""]
    yield from [fill(verdict(entry.answer), WIDTH), ""]
    yield from _table(entry)
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


def _table(entry: GalleryEntry) -> Iterator[str]:
    head = ["ahead", *map(called, NAIVE), "Driftline", "skill", "inside"]
    rows = [_cells(horizon, share) for horizon, share in zip(entry.answer.horizons, entry.inside, strict=True)]
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
        entries = [show(kind, cache, progress) for kind in STREAMS]
    PAGE.write_text(render(entries), encoding="utf-8")


if __name__ == "__main__":
    main()
