"""What was heard of an MQTT broker: which topics are alike, where their key is, and the rows that they bring. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from driftline.errors import InvalidInput
from driftline.streams.reading.bodies import UNREADABLE, decode
from driftline_cli.columns_seen import Survey, TextColumn, TimeColumn
from driftline_cli.rows_survey import survey_rows
from driftline_cli.survey import with_times

TOPICS_SHOWN = 3
SHOWN = 80
KEY = "device"
"""Column of the key that is in the topic."""
VALUE = "value"
"""Column of a payload that is a plain number."""
ARRIVAL = "time"


@dataclass(frozen=True)
class Message:
    """arrived: seconds since the epoch."""

    topic: str
    payload: bytes
    arrived: float


@dataclass(frozen=True)
class HeardTopics:
    """Messages of topics that differ in their key alone.

    topic: the filter of a definition. payload: as a definition names it. rows: of each message, with its key; times of
    arrival are in `survey` where the messages carry none. notes: what else was heard, as sentences.
    """

    topic: str
    payload: str
    rows: list[dict[str, object]]
    survey: Survey
    key: str | None
    arrival: bool
    notes: tuple[str, ...]


def heard(messages: Sequence[Message], wanted: str, source: str, zone: str) -> HeardTopics:
    """wanted: the filter that was listened to. Raises InvalidInput where nothing can be made of it."""
    usable = [(message, row) for message in messages for row in _rows(message.payload)]
    if not usable:
        raise InvalidInput(f"{source}: {_nothing_of(messages)}")
    kinds = Counter(_kind(message, row) for message, row in usable)
    (depth, payload), _ = kinds.most_common(1)[0]
    alike = [(message, row) for message, row in usable if _kind(message, row) == (depth, payload)]
    levels = [message.topic.split("/") for message, _ in alike]
    topic, position = _filter(levels, wanted)
    key = _free(KEY, alike[0][1]) if position is not None else None
    rows = [
        row | ({key: level[position]} if key is not None and position is not None else {})
        for (_, row), level in zip(alike, levels, strict=True)
    ]
    plain = [{name: value for name, value in row.items() if name != key} for row in rows]
    survey = with_times(survey_rows(plain, source, zone))
    survey, arrival = _with_arrival(survey, [message.arrived for message, _ in alike])
    if key is not None:
        survey = _with_key(survey, key, [str(row[key]) for row in rows])
    used = len({id(message) for message, _ in alike})
    return HeardTopics(topic, payload, rows, survey, key, arrival, tuple(_notes(messages, used)))


def _rows(payload: bytes) -> Sequence[dict[str, object]]:
    """An object, those of a list, or a plain number; nothing for everything else."""
    try:
        value = decode(payload)
    except UNREADABLE:
        return ()
    if isinstance(value, (int, float)):
        return ({VALUE: value},)
    return [row for row in (value if isinstance(value, list) else [value]) if isinstance(row, dict) and row]


def _kind(message: Message, row: dict[str, object]) -> tuple[int, str]:
    """Messages that one filter can have: topics of as many levels, and payloads of one kind."""
    return message.topic.count("/"), "number" if list(row) == [VALUE] else "json"


def _filter(levels: Sequence[Sequence[str]], wanted: str) -> tuple[str, int | None]:
    """The filter of topics with as many levels, and which of them is the key: the one with most names among those that
    vary, or that the wildcard meant."""
    asked = wanted.split("/")
    names = [set(parts) for parts in zip(*levels, strict=True)]
    free = [n for n in range(len(names)) if _is_free(asked, n)]
    varying = [n for n in free if len(names[n]) > 1]
    single = [n for n in free if n < len(asked) and asked[n] == "+"] or free[:1]
    key = max(varying, key=lambda n: len(names[n]), default=single[0] if single else None)
    parts = ["{key}" if n == key else "+" if n in varying else next(iter(names[n])) for n in range(len(names))]
    return "/".join(parts), key


def _is_free(asked: Sequence[str], level: int) -> bool:
    """Whether a wildcard is in the place of a level."""
    if "#" in asked and level >= len(asked) - 1:
        return True
    return level < len(asked) and asked[level] == "+"


def _free(name: str, row: dict[str, object]) -> str:
    """A name that no field has."""
    return next(free for free in (name, f"{name}_in_topic", f"{name}_of_topic") if free not in row)


def _with_arrival(survey: Survey, arrived: Sequence[float]) -> tuple[Survey, bool]:
    if any(not column.empty for column in survey.times):
        return survey, False
    t = np.array([round(second * 1000) for second in arrived], dtype=np.int64)
    columns = (*survey.columns, TimeColumn(_unused(survey, ARRIVAL), t, "UTC", 0))
    return Survey(survey.source, survey.rows, columns, is_nested=True, rows_in=survey.rows_in), True


def _unused(survey: Survey, name: str) -> str:
    return name if name not in survey.names else f"{name} of arrival"


def _with_key(survey: Survey, key: str, names: Sequence[str]) -> Survey:
    distinct = {name: code for code, name in enumerate(dict.fromkeys(names))}
    codes = np.array([distinct[name] for name in names], dtype=np.int64)
    column = TextColumn(key, codes, len(distinct), tuple(distinct))
    return Survey(survey.source, survey.rows, (*survey.columns, column), is_nested=True, rows_in=survey.rows_in)


def _notes(messages: Sequence[Message], used: int) -> Sequence[str]:
    topics = len({message.topic for message in messages})
    sentences = [f"{len(messages):,} messages of {topics:,} topics"]
    if used < len(messages):
        sentences.append(f"{len(messages) - used:,} of them are of another kind and left out")
    return sentences


def _nothing_of(messages: Sequence[Message]) -> str:
    """What there was instead."""
    first = {message.topic: message.payload for message in messages}
    shown = [f"{topic}: {payload[:SHOWN]!r}" for topic, payload in islice(first.items(), TOPICS_SHOWN)]
    problem = f"found {len(messages):,} messages and neither a JSON object nor a number among them"
    return f"{problem}, such as {'; '.join(shown)}"
