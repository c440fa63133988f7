"""`driftline from`: proposes a definition for what a broker sends or a file holds, and shows rows as they come out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from driftline.clock import shown
from driftline.errors import InvalidInput
from driftline.messages import Record
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.reading.line_protocol import LineReader
from driftline.streams.reading.refusals import Refusal
from driftline.streams.reading.rows import UNTIMED, RowReader
from driftline_cli import file_check
from driftline_cli.asking import FileHints, keep
from driftline_cli.file_survey import survey_file
from driftline_cli.heard import heard
from driftline_cli.lines_survey import SentLines, lines_seen, survey_lines, usable_fields
from driftline_cli.listening import BrokerUrl, listen
from driftline_cli.measured import Measured, measured
from driftline_cli.proposal import Origin, Proposal, check_zone, name_of, propose
from driftline_cli.timeline import timeline

ROWS_SHOWN = 10
UTC = "UTC"
BY = "driftline from"
BROKERS = ("mqtt://", "mqtts://")
DOOR = "http://"
EXAMPLE = "http://127.0.0.1:8086/influx"


@dataclass(frozen=True)
class TakenRow:
    """t: milliseconds since the epoch, None for that of arrival. values: in the order of the definition's columns."""

    key: str
    t: int | None
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class FirstLook:
    """rows: the first ones as they would be taken. notes: what else there is to say, as sentences."""

    proposal: Proposal
    rows: Sequence[TakenRow]
    notes: Sequence[str]


def look(
    source: str,
    hints: FileHints,
    ask: Callable[[Measured], str],
    seconds: float,
    say: Callable[[str], None] = lambda _: None,
) -> FirstLook:
    """source: the address of a broker with a filter of topics, one of this machine that is posted to, or a file.
    seconds: to listen. say: gets a sentence when somebody may post. Raises InvalidInput, Unavailable."""
    if hints.zone is not None:
        check_zone(hints.zone)
    if source.startswith(BROKERS):
        return _of_broker(source, hints, ask, seconds)
    if source.startswith(DOOR):
        return _of_door(source, hints, ask, seconds, say)
    if "://" in source:
        raise InvalidInput(f"found {source}, expected mqtt://HOST/TOPICS, mqtts://HOST/TOPICS, {EXAMPLE}, or a file")
    return _of_file(Path(source), hints, ask)


def _of_broker(source: str, hints: FileHints, ask: Callable[[Measured], str], seconds: float) -> FirstLook:
    url = BrokerUrl.of(source)
    messages = listen(url, seconds)
    called = f"mqtt://{url.host}/{url.topics}"
    if not messages:
        raise InvalidInput(
            f"{called}: heard nothing in {seconds:g} s: is this the filter of the topics? "
            f"Sensors that report seldom need a longer --seconds"
        )
    sample = heard(messages, url.topics, called, hints.zone or UTC)
    line = timeline(sample.survey, hints.key or sample.key, brief=True)
    columns = measured(sample.survey, line, brief=True)
    name = name_of("-".join(part for part in sample.topic.split("/") if part[:1] not in {"{", "+", "#"}))
    origin = Origin(BY, called, name, brief=True, topic=sample.topic, payload=sample.payload, arrival=sample.arrival)
    proposal = propose(sample.survey, line, columns, hints.target or ask(columns), hints.zone, origin)
    rows, refused = _taken(proposal.definition, sample.rows, number=sample.payload == "number")
    return FirstLook(proposal, rows, [*sample.notes, *proposal.notes[1:], *refused])


def _of_door(
    source: str, hints: FileHints, ask: Callable[[Measured], str], seconds: float, say: Callable[[str], None]
) -> FirstLook:
    """What Telegraf and others post to an address of this machine."""
    from driftline_cli.receiving import DoorUrl, receive  # noqa: PLC0415 - the command's help needs no server

    url = DoorUrl.of(source)
    received = receive(url, seconds, say)
    called, zone = str(url), hints.zone or UTC
    if not received.sent:
        raise InvalidInput(
            f"{called}: nothing was posted in {seconds:g} s: is this the address in `urls` of Telegraf's output? "
            f"Inputs that report seldom need a longer --seconds"
        )
    seen = lines_seen(received.sent, called)
    measurement, target = seen.of(hints.target or ask(usable_fields(seen, zone, hints.key, brief=True)))
    survey, arrival = survey_lines(measurement, called, zone, hints.key)
    line = timeline(survey, brief=True)
    name = name_of(received.bucket or measurement.name)
    origin = Origin(BY, called, name, brief=True, arrival=arrival)
    proposal = propose(survey, line, measured(survey, line, brief=True), target, hints.zone, origin)
    rows, notes = _taken_lines(proposal.definition, received.sent)
    renamed = [] if received.bucket in {None, name} else [f"the bucket must be the stream's name, {name}"]
    return FirstLook(proposal, rows, [*seen.notes, *proposal.notes, *renamed, *notes])


def _of_file(path: Path, hints: FileHints, ask: Callable[[Measured], str]) -> FirstLook:
    try:
        body = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: can't be read: {error.strerror}") from error
    seen, hints = survey_file(body, str(path), hints, ask, brief=True)
    line = timeline(seen, hints.key, brief=True)
    columns = measured(seen, line, brief=True)
    proposal = propose(seen, line, columns, hints.target or ask(columns), hints.zone, Origin(BY, brief=True))
    content = tables.examine(body, proposal.definition, str(path), now=time.time())
    first = content.rows.take(slice(0, ROWS_SHOWN))
    rows = [
        TakenRow(str(key), int(t), tuple(map(_known, values)))
        for key, t, values in zip(first.keys, first.t, first.values, strict=True)
    ]
    checked = file_check.check(content, proposal.definition)
    refused = [file_check.sentence(reason, checked.unit) for reason in checked.reasons]
    return FirstLook(proposal, rows, [*proposal.notes, *checked.notes, *refused])


def _known(value: float) -> float | None:
    return None if value != value else float(value)  # noqa: PLR0124 - NaN


def _taken(
    stream: StreamDefinition, rows: Sequence[dict[str, object]], *, number: bool
) -> tuple[list[TakenRow], list[str]]:
    """The first rows, as the door takes them; and why some would be refused."""
    taken = RowReader(stream, arrival=True).read(rows, 0.0, text=number)
    records = _first(taken.records, stream)
    return records, _of_refused(taken.refusals, len(rows), "messages")


def _taken_lines(stream: StreamDefinition, sent: Sequence[SentLines]) -> tuple[list[TakenRow], list[str]]:
    """The same of lines, as the door for them takes them."""
    reader = RowReader(stream, arrival=True)
    records: list[Record] = []
    notes: dict[str, None] = {}
    refused: list[Refusal] = []
    for part in sent:
        raw = LineReader(reader, part.precision).rows(part.body)
        taken = reader.read(raw.rows, 0.0, text=False)
        records.extend(taken.records)
        refused.extend(taken.refusals)
        notes |= dict.fromkeys(raw.notes)
    return _first(records, stream), [*_of_refused(refused, len(records) + len(refused), "lines"), *notes]


def _of_refused(refusals: Sequence[Refusal], count: int, what: str) -> list[str]:
    """A sentence where there are any. count: of all."""
    if not refusals:
        return []
    first = refusals[0]
    reason = f"column {first.column!r}: found {first.value}, expected {first.expected}"
    return [f"{len(refusals):,} of {count:,} {what} would be refused: {reason}"]


def _first(records: Sequence[Record], stream: StreamDefinition) -> list[TakenRow]:
    return [
        TakenRow(record.key, None if record.t == UNTIMED else record.t, tuple(record.values[n] for n in stream.columns))
        for record in records[:ROWS_SHOWN]
    ]


def render(looked: FirstLook, console: Console) -> None:
    """For people: what was seen, ten rows, and the definition."""
    for note in looked.notes:
        console.print(f"- {note}", markup=False, highlight=False, soft_wrap=True)
    console.print(table_of(looked))
    console.print(f"\n{looked.proposal.text}", markup=False, highlight=False, soft_wrap=True)


def table_of(looked: FirstLook) -> Table:
    stream = looked.proposal.definition
    table = Table(title=f"the first {len(looked.rows)} rows, as they would be taken", title_justify="left")
    table.add_column("time")
    table.add_column("key")
    for name in stream.columns:
        table.add_column(name, justify="right")
    for row in looked.rows:
        when = "on arrival" if row.t is None else shown(row.t / 1000)
        values = ("-" if value is None else f"{value:.6g}" for value in row.values)
        table.add_row(when, Text(row.key), *values)
    return table


def write(proposal: Proposal, path: Path, *, at_terminal: bool) -> None:
    """Raises InvalidInput where a file exists and nobody can be asked, or does not agree."""
    if path.exists() and at_terminal and path.suffix == ".yaml":
        if not typer.confirm(f"{path} exists already. Replace it?"):
            raise InvalidInput(f"{path}: left as it is")
        path.write_text(proposal.text, encoding="utf-8")
        return
    keep(proposal, path, "--output")
