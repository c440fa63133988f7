"""`driftline backtest --data`: would forecasting help on a file of records, how far ahead, and by how much.

A definition is proposed where none is given; the file is split, and the services' own code forecasts its later part.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from driftline.errors import InvalidInput
from driftline.files import replace_file
from driftline.scoring import PUBLISHED
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import concatenate
from driftline_cli import answer as answers
from driftline_cli import drifts
from driftline_cli.answer import NAIVE, Answer, HorizonAnswer, called
from driftline_cli.answer_report import answer_report
from driftline_cli.asking import FileHints, ask_target, keep
from driftline_cli.backtest import Run, backtest
from driftline_cli.drift_kinds import Kind
from driftline_cli.evaluate import Outcome, outcome
from driftline_cli.file_survey import survey_file
from driftline_cli.html_report import render_html
from driftline_cli.lengths import roughly
from driftline_cli.measured import Measured, measured
from driftline_cli.progress import bars
from driftline_cli.proposal import Proposal, check_zone, horizons_of, propose
from driftline_cli.read_file import read_file
from driftline_cli.timeline import timeline


@dataclass(frozen=True)
class Answered:
    """The answer. page: of the report that shows it."""

    answer: Answer
    run: Run
    page: Path


def look(data: Path, hints: FileHints, ask: Callable[[Measured], str]) -> Proposal:
    """Proposes a definition for a file. ask: chooses the target where several columns may be. Raises InvalidInput."""
    if hints.zone is not None:
        check_zone(hints.zone)
    try:
        body = data.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{data}: can't be read: {error.strerror}") from error
    seen, hints = survey_file(body, str(data), hints, ask)
    line = timeline(seen, hints.key)
    horizons_of(seen, line)
    columns = measured(seen, line)
    return propose(seen, line, columns, hints.target or ask(columns), hints.zone)


def proposed(data: Path, hints: FileHints, save: Path | None, console: Console) -> StreamDefinition:
    """Looks at a file, prints what was seen and the definition that is proposed for it, and keeps that."""
    proposal = look(data, hints, ask_target)
    for note in proposal.notes:
        console.print(f"- {note}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"\n{proposal.text}", markup=False, highlight=False, soft_wrap=True)
    if save is not None:
        keep(proposal, save, "--save")
        console.print(f"definition: {save}\n", markup=False, soft_wrap=True)
    return proposal.definition


def run(
    stream: StreamDefinition,
    data: Path,
    *,
    futures: Path | None = None,
    records: int,
    drift: Kind,
    magnitude: float | None,
    seed: int,
    report: Path,
    console: Console,
) -> Answered:
    """Splits the file, forecasts, prints the table and the answer, and writes the report. futures: a file of what was
    known ahead. Raises InvalidInput."""
    parts = answers.split(read_file(data, stream, futures), records)
    # Here and not by the backtest: the naive forecasts must see the same data.
    streamed = drifts.apply(drift, parts.streamed, stream, history=parts.history, magnitude=magnitude, seed=seed)
    parts = replace(parts, streamed=streamed)
    console.print(answers.described(parts, stream), markup=False, highlight=False, soft_wrap=True)
    with bars(console) as progress:
        test = concatenate([parts.warm_up, parts.streamed])
        done = asyncio.run(backtest(stream, parts.history, test, seed=seed, progress=progress))
    began = int(parts.streamed.t[0])
    scored = [blend for blend in done.collected.blends if blend.t >= began]
    outcomes = [outcome(scored, index, stream) for index in range(len(stream.horizon))]
    given = answers.answer(stream, parts, outcomes)
    console.print(answer_table(given))
    console.print(Text(answers.verdict(given), style="bold"), soft_wrap=True)
    page = write_report(report, stream, parts, given, outcomes)
    console.print(f"report: {page}", markup=False, soft_wrap=True)
    return Answered(given, done, page)


def write_report(
    folder: Path, stream: StreamDefinition, parts: answers.Split, given: Answer, outcomes: list[Outcome]
) -> Path:
    """Draws the pictures and writes the page that holds them; returns the page's path. outcomes: by horizon."""
    from driftline_cli.answer_plots import draw_answer  # noqa: PLC0415 - Matplotlib is half of the command's start

    pictures = {path.name: path.read_bytes() for path in draw_answer(folder, given, outcomes, stream)}
    report = answer_report(given, answers.described(parts, stream), answer_table(given), pictures)
    page = folder / "index.html"
    replace_file(page, render_html(report).encode(), mode=0o644)
    return page


def answer_table(given: Answer) -> Table:
    """By horizon the errors of the naive forecasts and of the blend."""
    records = f"{min(horizon.n for horizon in given.horizons):,}"
    table = Table(
        title=f"{given.stream}: root mean square error of {given.target}",
        title_justify="left",
        caption=f"Over the same records, at least {records}. Bold: the best naive forecast; the skill is against it. "
        "Won: the days, or stretches as long as it looks ahead, in which Driftline was better.",
        caption_justify="left",
    )
    table.add_column("ahead")
    for name in (*map(called, NAIVE), "Driftline", "skill", "won"):
        table.add_column(name, justify="right")
    for horizon in given.horizons:
        table.add_row(*_cells(horizon))
    return table


def _cells(horizon: HorizonAnswer) -> list[Text | str]:
    naive = [
        Text(f"{horizon.rmse[name]:.4g}" if name in horizon.rmse else "-", "bold" if name == horizon.best else "")
        for name in NAIVE
    ]
    return [
        roughly(horizon.ahead),
        *naive,
        f"{horizon.rmse[PUBLISHED]:.4g}",
        f"{horizon.skill:+.3f}",
        f"{round(100 * horizon.won)} %",
    ]
