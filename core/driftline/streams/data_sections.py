"""The sections of a definition that say how records come.

Pure.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from driftline.streams import topic_filters
from driftline.streams.definition_values import (
    DAY_S,
    CalendarZone,
    Country,
    Encoding,
    Finite,
    LengthOfTime,
    MissingValues,
    NumberByText,
    Scale,
    Section,
    TimeFormat,
    TimeZone,
)

Take = Literal["mean", "last", "sum", "max", "min", "difference"]
DEFAULT_HOLD = 1_000
"""Periods that a silent sensor keeps its value for, at most, unless the definition says more ..."""
LONGEST_HOLD = 10_000
"""... which is no more than that: all of them may come at once."""
LEAST_AHEAD_S = 300
"""Clocks of sensors that nobody keeps differ by minutes."""


def _source(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


def _fill(value: object) -> object:
    """YAML reads `null` as nothing, unless it is quoted."""
    return None if value == "null" else value


Fill = Annotated[Literal["last"] | None, BeforeValidator(_fill)]


class Time(Section):
    """The column of a record's time, and the distance between records."""

    column: str = Field("time", min_length=1)
    """The column that holds the time."""
    date: str | None = Field(None, min_length=1)
    """The field that holds the day, where that of the time holds the time of day alone: both are read as one text, with
    a space between them."""
    format: TimeFormat | None = None
    """How it is written: `iso`; `s`, `ms`, `us` or `ns` since 1970; or a pattern of strptime such as
    `"%d/%m/%Y %H:%M"`. By default ISO 8601, `31.12.2026 23:50`, or a number since 1970 whose unit is guessed by its
    size, which is said once."""
    zone: TimeZone = "required"
    """`required`: a time without a zone is refused; otherwise the zone that such a time is in. Of the hour that comes
    twice in autumn, the order of a key's records says which it is; a time that does not exist in spring is refused."""
    arrival: Literal["believed", "trust", "refuse"] = "believed"
    """A row without a time is of when it arrived: while the clock of ingest's machine can be `believed`, which on Linux
    it can when it is synchronised; always (`trust`); or never (`refuse`)."""
    period: LengthOfTime
    """From one record of a key to its next, such as `10min`; seconds in memory."""
    ahead: LengthOfTime | None = None
    """By how much a record may be ahead of ingest's clock, such as `1h`; where it is not said by one period, at least
    `5min`."""

    @property
    def tolerance(self) -> int:
        """Seconds that a record may be ahead of the clock."""
        return self.ahead or max(self.period, LEAST_AHEAD_S)


class ColumnSource(Section):
    """Where in a device's row a column is, and how its values are written."""

    path: str | None = Field(None, min_length=1)
    """The name of the field, or the way to it, such as `sensors.outside.temp` or `ENERGY.Power[0]`; by default the
    column's own name."""
    constant: str | None = Field(None, min_length=1)
    """The value of every row, instead of a field; for the columns of key and group alone."""
    scale: Scale = 1.0
    """A number is multiplied by it ..."""
    offset: Finite = 0.0
    """... and then this is added."""
    unit: str | None = None
    """The unit of the scaled values, for people; a file that names another one is pointed out. A number that is written
    as text may have it at its end, such as `21.5 °C`."""
    missing: MissingValues = ()
    """Numbers, before they are scaled, and texts that mean a missing value, in addition to null, NaN, an empty text,
    `unavailable` and the like."""
    values: NumberByText = Field(default_factory=dict)
    """Texts that mean a number, such as `{open: 1, closed: 0}`; they are not scaled."""
    text: bool = False
    """Whether JSON may hold the number as text, such as `"21.5"`. In CSV every number is text."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.path is not None and self.constant is not None:
            raise ValueError(f"found path {self.path!r} and constant {self.constant!r}, expected one of them")
        return self

    def check(self, column: str, *, is_number: bool, is_identity: bool) -> None:
        """is_identity: whether the column is that of key or group. Raises ValueError for what the column can't have."""
        if self.constant is not None and not is_identity:
            raise ValueError(f"columns.{column}: found a constant, expected it for the columns of key and group alone")
        if self.converts and not is_number:
            problem = "found how numbers are written, expected a path or a constant"
            raise ValueError(f"columns.{column}: {problem}: this column is no number")

    @property
    def converts(self) -> bool:
        """Whether it says more than where the value is."""
        return bool(self.scale != 1 or self.offset or self.missing or self.values or self.text)


SourceOrPath = Annotated[ColumnSource, BeforeValidator(_source)]


class CsvFormat(Section):
    """How CSV is written; by default it is found in each body or file."""

    separator: str | None = Field(None, min_length=1, max_length=1)
    """Between the columns: by default the one of comma, semicolon, tab and bar that the header has most of."""
    decimal: Literal[".", ","] | None = None
    """Before a number's decimals; by default a point, or a comma where the numbers have one and it separates nothing
    else."""
    encoding: Encoding = "utf-8"
    """Of the text, such as `latin-1`."""
    comment: str = Field("#", max_length=8)
    """Lines that begin with it are left out; `""` for none."""


class Grid(Section):
    """How what comes at any time, on change, or with one column in each message, becomes one record for each period."""

    every: LengthOfTime | None = None
    """The length of a period, which is that of `time`; it need not be said here."""
    take: Take | dict[str, Take] = "mean"
    """The value of a period, of all columns or by column; `mean` where it is not said. The mean of an angle is that of
    directions. `difference` is what a counter has counted in the period: a reset and a single glitch count nothing."""
    grace: float = Field(0.1, ge=0, le=1000)
    """Periods that a period waits after its end for what is late. Nothing is forecast before."""
    fill: Fill = None
    """Of a period in which a sensor says nothing: `null` leaves it missing, `last` keeps the value."""
    hold: LengthOfTime | None = None
    """For so long `last` keeps a value, and so long may lie between two readings of a counter; by default a day, but
    two periods at least and 1,000 at most."""

    def take_of(self, column: str) -> Take:
        """How the column's value is made."""
        return self.take.get(column, "mean") if isinstance(self.take, dict) else self.take

    def held(self, period: int) -> int:
        """Seconds of `hold`. period: of `time`, in seconds."""
        return self.hold or min(max(DAY_S, 2 * period), DEFAULT_HOLD * period)

    def check(self, period: int, columns: Mapping[str, bool]) -> None:
        """columns: whether each is an angle. Raises ValueError for what contradicts the rest of the definition."""
        if self.every not in {None, period}:
            raise ValueError(f"grid.every: found {self.every} s, expected time.period, which is {period} s")
        if self.held(period) > LONGEST_HOLD * period:
            raise ValueError(f"grid.hold: found {self.hold} s, expected at most {LONGEST_HOLD:,} periods")
        strange = [name for name in self.take if name not in columns] if isinstance(self.take, dict) else []
        if strange:
            raise ValueError(f"grid.take: found {strange[0]!r}, expected one of {', '.join(columns)}")
        for name, angle in columns.items():
            if angle and self.take_of(name) not in {"mean", "last"}:
                raise ValueError(f"grid.take: found {self.take_of(name)} of the angle {name!r}, expected mean or last")


class Calendar(Section):
    """The calendar that people live by where the records come from."""

    zone: CalendarZone | None = None
    """The time zone of hours, weekdays and holidays, such as `Europe/Paris`; by default the `zone` of `time`, or UTC
    where that is `required`."""
    holidays: Country | None = None
    """The country whose public holidays count, such as `FR`, or its subdivision, such as `DE-BY`."""


class KafkaSource(Section):
    """A Kafka topic of others whose messages are records of the stream."""

    topic: str = Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")
    """The topic's name."""
    payload: Literal["json", "influx"] = "json"
    """A JSON object of columns or a list of them; or lines of InfluxDB's line protocol. A row without a key has
    that of the message, and a row without a time the message's."""


class Mqtt(Section):
    """Which messages of an MQTT broker are records of the stream."""

    topic: str = Field(min_length=1)
    """A topic filter, with `{key}` in the place of the key, `{group}` in that of the column of `group`, and `{column}`
    in that of the column that a `number` is of, which needs a `grid`."""
    payload: Literal["json", "number", "csv"] = "json"
    """A JSON object of columns, or a list of them; a plain number, of the target or of `{column}`; or a line of
    `columns`. Without a time it is of when it arrived, see `time.arrival`."""
    columns: tuple[str, ...] = ()
    """The columns of a `csv` line, in their order."""
    separator: str = Field(",", min_length=1, max_length=1)
    """Separator of the columns of a `csv` line."""
    futures: str | None = Field(None, min_length=1)
    """A topic filter of messages that are futures, with `{key}` and `{group}` as above: JSON objects of the columns of
    `futures`, of the time that they are for, and of when they were `issued`, which is now where it is missing."""

    @property
    def is_of_one_column(self) -> bool:
        """Whether a message is a number of which nothing says what it is."""
        return self.payload == "number" and topic_filters.COLUMN not in self.topic

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.payload == "csv") != bool(self.columns):
            raise ValueError(f"columns: found {list(self.columns)}, expected the line's columns for csv, and only then")
        topic_filters.check(self.topic)
        if topic_filters.COLUMN in self.topic and self.payload != "number":
            raise ValueError(f"topic: found {topic_filters.COLUMN}, expected it with payload number alone")
        if self.futures is not None:
            topic_filters.check(self.futures)
            if topic_filters.covers(self.futures, self.topic):
                problem = f"found {self.futures!r}, which has all topics of {self.topic!r}"
                raise ValueError(f"futures: {problem}, expected topics of its own")
        return self

    def check(self, columns: Collection[str], group: str | None, *, on_grid: bool) -> None:
        """group: the column that names it. Raises ValueError for what contradicts the rest of the definition."""
        self._check_columns(columns, on_grid=on_grid)
        self._check_group(group)

    def _check_columns(self, columns: Collection[str], *, on_grid: bool) -> None:
        in_topic = topic_filters.COLUMN in self.topic
        if in_topic and not on_grid:
            raise ValueError("mqtt: found {column} in the topic, expected a `grid` too, which makes records of them")
        if self.payload == "number" and len(columns) > 1 and not in_topic:
            raise ValueError(
                "mqtt: found payload number, expected json or csv, or {column} in the topic: the stream has several "
                "columns"
            )
        if topic_filters.COLUMN in (self.futures or ""):
            raise ValueError("mqtt.futures: found {column}, expected it in the topic of records alone")

    def _check_group(self, group: str | None) -> None:
        is_named = "{group}" in self.topic
        if (is_named or "{group}" in (self.futures or "")) and group is None:
            raise ValueError("mqtt: found {group} in the topic, expected it only where `group` names a column")
        if self.payload == "number" and group is not None and not is_named:
            raise ValueError(f"mqtt: found no {{group}} in the topic, expected it: a number has no {group!r}")
