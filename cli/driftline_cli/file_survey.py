"""A look into a file of any kind that no definition describes. Pure."""

from collections.abc import Callable
from dataclasses import replace

from driftline.streams.table_file import LINES_SUFFIX
from driftline_cli.asking import FileHints
from driftline_cli.columns_seen import Survey
from driftline_cli.lines_survey import SentLines, lines_seen, survey_lines, usable_fields
from driftline_cli.measured import Measured
from driftline_cli.survey import survey

UTC = "UTC"


def survey_file(
    body: bytes, source: str, hints: FileHints, ask: Callable[[Measured], str], *, brief: bool = False
) -> tuple[Survey, FileHints]:
    """What it holds, and the hints with whatever had to be asked already: of line protocol the target says which lines
    are meant. Raises InvalidInput."""
    zone = hints.zone or UTC
    if not source.endswith(LINES_SUFFIX):
        return survey(body, source, zone), hints
    seen = lines_seen([SentLines(body)], source)
    target = hints.target or ask(usable_fields(seen, zone, hints.key, brief=brief))
    measurement, target = seen.of(target)
    looked, _ = survey_lines(measurement, source, zone, hints.key)
    return looked, replace(hints, target=target)
