"""The page that `driftline backtest --data` leaves behind: the answer, its table and pictures, what next. Pure."""

from collections.abc import Mapping

from rich.table import Table

from driftline_cli.answer import Answer, verdict
from driftline_cli.html_report import HtmlReport, Paragraph, Picture, ReportSection, ShellCommand

CAPTIONS = {
    "errors.png": (
        "The errors of the naive forecasts and of Driftline, by how far ahead",
        "Lower is better. The percentages compare Driftline's error with that of the best naive forecast.",
    ),
    "stretch.png": (
        "Truth and forecast over the newest records",
        "The forecast lies at the time that it is for; the pale band is its 90 % interval.",
    ),
}
NAIVE = (
    "Naive forecasts need no model: the last value, the value of the same time yesterday, and that of last week. "
    "Forecasting helps at a horizon when the error is smaller than that of the best of them, and a test over the days "
    "says that this is no chance."
)


def answer_report(given: Answer, split: str, table: Table, pictures: Mapping[str, bytes]) -> HtmlReport:
    """split: how the file was split, in a sentence. pictures: PNGs by the names of CAPTIONS."""
    sections = [
        ReportSection("How far ahead, and by how much?", [Paragraph(NAIVE), table]),
        ReportSection("Pictures", [Picture(png, *CAPTIONS[name]) for name, png in pictures.items()]),
        ReportSection("How it was tried", [Paragraph(f"{split[0].upper()}{split[1:]}.")]),
        ReportSection("What to do next", list(_next(given))),
    ]
    return HtmlReport(
        f"Would forecasting help? {given.stream}, {given.target}", [Paragraph(verdict(given), answer=True)], sections
    )


def _next(given: Answer) -> list[ShellCommand | Paragraph]:
    file = f"streams/{given.stream}.yaml"
    return [
        Paragraph(
            f"Keep the definition as {file}: --save writes the one that was proposed. You may change any line of it, "
            "and ask again."
        ),
        ShellCommand(f"driftline backtest --stream {file} --data YOUR-FILE", "Ask again with the changed definition."),
        ShellCommand(
            f"driftline up && driftline replay --stream {file} --data YOUR-FILE", "Forecast live on this machine."
        ),
        ShellCommand(
            f"driftline train --stream {file} --history YOUR-FILE", "Train its model, which is then swapped in."
        ),
        ShellCommand(f"driftline forecast {given.stream}", "Print the next values."),
    ]
