"""A stream's definition: the one file that says what its records look like and how they are forecast.

Pure: `parse` takes text. Errors name the file, the line, the key, what was found and what was expected.
"""

import codecs
import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from driftline.errors import InvalidDefinition
from driftline.scoring import Strategy
from driftline.streams import public_holidays, topic_filters
from driftline.streams.grid import LATEST

UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86400}
DAY_S = 86400
LEAST_AHEAD_S = 300
"""Clocks of sensors that nobody keeps differ by minutes."""
LENGTH_OF_TIME = {"type": "string", "pattern": r"\d+ *(s|min|h|d)"}
EVERY_SERIES = "all"
"""The group of all series of a stream."""
SINGLE_KEY = "all"
"""The key of a stream that is one series and has no key column."""
ISSUED = "issued"
"""The column that says when a future was issued."""
MOST_AHEAD = 2000
"""Periods ahead of the newest record that futures are kept for, at most."""
INPUTS = 4
"""Which inputs `driftline.streams.features` makes; counted up with each change, so that no older model is fed."""
LONGEST_SEASON = 1440
"""Records of a day that are kept to look back on; a faster stream has no season."""
TIME_FORMATS = ("iso", "s", "ms", "us", "ns")
"""How times may be written, except for patterns of strptime."""
SWITCHED = {True: ("true", "on", "yes"), False: ("false", "off", "no")}
"""What people write that YAML reads as true and false."""
SEASONS = {"1d": DAY_S, "7d": 7 * DAY_S}
"""The lengths of time that values may repeat after."""


def _seconds(value: object) -> object:
    match = re.fullmatch(r"(\d+)\s*(s|min|h|d)", value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError("expected a length of time such as 30s, 10min, 1h or 1d")
    return int(match[1]) * UNITS_S[match[2]]


def _time_format(value: str) -> str:
    if value not in TIME_FORMATS and "%" not in value:
        raise ValueError(f"expected one of {', '.join(TIME_FORMATS)}, or a pattern such as %d/%m/%Y %H:%M")
    return value


def _encoding(value: str) -> str:
    try:
        return codecs.lookup(value).name
    except LookupError as error:
        raise ValueError("expected an encoding such as utf-8, latin-1 or cp1252") from error


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("expected a finite number")
    return value


def _scale(value: float) -> float:
    if not value:
        raise ValueError("expected another number than 0")
    return _finite(value)


def _texts(value: object) -> object:
    """YAML reads `on` and `off`, unless they are quoted, as true and false."""
    if not isinstance(value, dict):
        return value
    texts: dict[object, object] = {}
    for text, number in value.items():
        meant = SWITCHED[text] if isinstance(text, bool) else (str(text).strip().lower(),)
        texts |= dict.fromkeys(meant, number)
    return texts


def _missing(value: object) -> object:
    """YAML reads `off`, unless it is quoted, as false."""
    listed = _listed(value)
    if not isinstance(listed, list | tuple):
        return listed
    return [text for item in listed for text in (SWITCHED[item] if isinstance(item, bool) else (item,))]


def _source(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


def _zone(value: str) -> str:
    return value if value == "required" else _known_zone(value, "`required` or the name")


def _calendar_zone(value: str) -> str:
    return _known_zone(value, "the name")


def _known_zone(value: str, allowed: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = ", ".join(_near_zones(value))
        hint = f"; near it: {near}" if near else ""
        raise ValueError(f"expected {allowed} of a time zone such as Europe/Paris{hint}") from error
    return value


def _near_zones(value: str) -> list[str]:
    """At most five: those that hold `value`, such as a city's name, or else those that are written much like it."""
    zones = sorted(available_timezones())
    holding = [zone for zone in zones if value.strip() and value.strip().lower() in zone.lower()]
    return (holding or get_close_matches(value, zones))[:5]


def _country(value: object) -> object:
    if value is False:
        raise ValueError("expected a country's code; YAML reads NO as false, unless quotes make it text: 'NO'")
    expected = public_holidays.expected_instead(value) if isinstance(value, str) else None
    if expected is not None:
        raise ValueError(f"expected {expected}")
    return value


def _season(value: object) -> object:
    try:
        seconds = _seconds(value)
    except ValueError:
        seconds = None
    if seconds not in SEASONS.values():
        raise ValueError(f"expected {' or '.join(SEASONS)}")
    return seconds


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


Horizons = Annotated[tuple[Annotated[int, Field(ge=1, le=1000)], ...], BeforeValidator(_listed), Field(min_length=1)]
SeasonLength = Annotated[int, BeforeValidator(_season), WithJsonSchema({"type": "string", "enum": list(SEASONS)})]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Time(_Section):
    """The column of a record's time, and the distance between records."""

    column: str = Field("time", min_length=1)
    """The column that holds the time."""
    format: Annotated[str, AfterValidator(_time_format)] | None = None
    """How it is written: `iso`; `s`, `ms`, `us` or `ns` since 1970; or a pattern of strptime such as
    `"%d/%m/%Y %H:%M"`. By default ISO 8601, `31.12.2026 23:50`, or a number since 1970 whose unit is guessed by its
    size, which is said once."""
    zone: Annotated[str, AfterValidator(_zone)] = "required"
    """`required`: a time without a zone is refused; otherwise the zone that such a time is in. Of the hour that comes
    twice in autumn, the order of a key's records says which it is; a time that does not exist in spring is refused."""
    arrival: Literal["believed", "trust", "refuse"] = "believed"
    """A row without a time is of when it arrived: while the clock of ingest's machine can be `believed`, which on Linux
    it can when it is synchronised; always (`trust`); or never (`refuse`)."""
    period: Annotated[int, BeforeValidator(_seconds), WithJsonSchema(LENGTH_OF_TIME)]
    """From one record of a key to its next, such as `10min`; seconds in memory."""
    ahead: Annotated[int, BeforeValidator(_seconds), WithJsonSchema(LENGTH_OF_TIME)] | None = None
    """By how much a record may be ahead of ingest's clock, such as `1h`; where it is not said by one period, at least
    `5min`."""

    @property
    def tolerance(self) -> int:
        """Seconds that a record may be ahead of the clock."""
        return self.ahead or max(self.period, LEAST_AHEAD_S)


class ColumnSource(_Section):
    """Where in a device's row a column is, and how its values are written."""

    path: str | None = Field(None, min_length=1)
    """The name of the field, or the way to it, such as `sensors.outside.temp` or `ENERGY.Power[0]`; by default the
    column's own name."""
    constant: str | None = Field(None, min_length=1)
    """The value of every row, instead of a field; for the columns of key and group alone."""
    scale: Annotated[float, AfterValidator(_scale)] = 1.0
    """A number is multiplied by it ..."""
    offset: Annotated[float, AfterValidator(_finite)] = 0.0
    """... and then this is added."""
    unit: str | None = None
    """The unit of the scaled values, for people; a file that names another one is pointed out."""
    missing: Annotated[tuple[float | str, ...], BeforeValidator(_missing)] = ()
    """Numbers, before they are scaled, and texts that mean a missing value, in addition to null, NaN, an empty text,
    `unavailable` and the like."""
    values: Annotated[dict[str, Annotated[float, AfterValidator(_finite)]], BeforeValidator(_texts)] = {}
    """Texts that mean a number, such as `{open: 1, closed: 0}`; they are not scaled."""
    text: bool = False
    """Whether JSON may hold the number as text, such as `"21.5"`. In CSV every number is text."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.path is not None and self.constant is not None:
            raise ValueError(f"found path {self.path!r} and constant {self.constant!r}, expected one of them")
        return self

    @property
    def converts(self) -> bool:
        """Whether it says more than where the value is."""
        return bool(self.scale != 1 or self.offset or self.missing or self.values or self.text)


SourceOrPath = Annotated[ColumnSource, BeforeValidator(_source)]


class CsvFormat(_Section):
    """How CSV is written; by default it is found in each body or file."""

    separator: str | None = Field(None, min_length=1, max_length=1)
    """Between the columns: by default the one of comma, semicolon, tab and bar that the header has most of."""
    decimal: Literal[".", ","] | None = None
    """Before a number's decimals; by default a point, or a comma where the numbers have one and it separates nothing
    else."""
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    """Of the text, such as `latin-1`."""
    comment: str = Field("#", max_length=8)
    """Lines that begin with it are left out; `""` for none."""


class Calendar(_Section):
    """The calendar that people live by where the records come from."""

    zone: Annotated[str, AfterValidator(_calendar_zone)] | None = None
    """The time zone of hours, weekdays and holidays, such as `Europe/Paris`; by default the `zone` of `time`, or UTC
    where that is `required`."""
    holidays: Annotated[str, BeforeValidator(_country)] | None = None
    """The country whose public holidays count, such as `FR`, or its subdivision, such as `DE-BY`."""


class Mqtt(_Section):
    """Which messages of an MQTT broker are records of the stream."""

    topic: str = Field(min_length=1)
    """A topic filter, with `{key}` in the place of the key, and `{group}` in that of the column of `group`."""
    payload: Literal["json", "number", "csv"] = "json"
    """A JSON object of columns; the target's plain number; or a line of `columns`. Without a time it is of when it
    arrived, see `time.arrival`."""
    columns: tuple[str, ...] = ()
    """The columns of a `csv` line, in their order."""
    separator: str = Field(",", min_length=1, max_length=1)
    """Separator of the columns of a `csv` line."""
    futures: str | None = Field(None, min_length=1)
    """A topic filter of messages that are futures, with `{key}` and `{group}` as above: JSON objects of the columns of
    `futures`, of the time that they are for, and of when they were `issued`, which is now where it is missing."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.payload == "csv") != bool(self.columns):
            raise ValueError(f"columns: found {list(self.columns)}, expected the line's columns for csv, and only then")
        topic_filters.check(self.topic)
        if self.futures is not None:
            topic_filters.check(self.futures)
            if topic_filters.covers(self.futures, self.topic):
                problem = f"found {self.futures!r}, which has all topics of {self.topic!r}"
                raise ValueError(f"futures: {problem}, expected topics of its own")
        return self


class TrainingOptions(_Section):
    """How the batch model is made."""

    architecture: Literal["mlp", "lstm", "gru"] = "mlp"
    """The kind of network: dense layers, or a recurrent one over the lags."""
    units: tuple[Annotated[int, Field(ge=1, le=1024)], ...] | None = None
    """Units of each layer; by default what fits the number of rows."""
    networks: int = Field(4, ge=1, le=16)
    """So many are trained from different beginnings and averaged in one model."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the units that sit out in each step of training."""
    loss: Literal["huber", "mse"] = "huber"
    """The loss that training minimises; `huber` gives less weight to outliers."""
    steps: int | None = Field(None, ge=1, le=1_000_000)
    """Batches that it learns from, at most; the rate's decay is spread over them. By default what fits the number of
    rows: a short history is passed over more often than a long one."""
    epochs: int | None = Field(None, ge=1, le=1000)
    """Passes over all rows, in the place of `steps`."""
    patience: int = Field(6, ge=1)
    """Looks at the hold-out, of about 20 in a training, without a better one after which it stops; the weights of the
    best look stay."""
    batch_size: int = Field(512, ge=1)
    """Rows of one step of training."""
    learning_rate: float = Field(2e-3, gt=0)
    """Adam's rate at the beginning."""
    seed: int = 0
    """Seed of all random numbers in training."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError(f"found steps {self.steps} and epochs {self.epochs}, expected one of them")
        return self


class Retraining(_Section):
    """When and how the speed model follows."""

    every: int = Field(1000, ge=1)
    """New records, of all keys together, after which the speed model is retrained."""
    records: int = Field(1000, ge=1)
    """The newest records that it is retrained on ..."""
    replay: int = Field(500, ge=0)
    """... with so many rows of what was learned from before."""
    epochs: int = Field(3, ge=1)
    """How often it sees them."""
    learning_rate: float = Field(3e-5, gt=0)
    """Adam's rate; far smaller than the batch model's, so that little is forgotten."""
    seconds: float = Field(30.0, gt=0)
    """Time for fine-tuning; no epoch begins after it."""


class Gate(_Section):
    """How much worse a candidate's RMSE on the hold-out may be, as a share, in addition to what chance explains."""

    parent: float = Field(0.02, ge=0)
    """Than that of the version that is current."""
    persistence: float = Field(0.05, ge=0)
    """Than that of repeating the last value."""


class Weighting(_Section):
    """How the combiner weighs the members. Every strategy is evaluated; the active one is published."""

    active: Strategy = "online"
    """The strategy that is published."""
    window: int = Field(250, ge=2, le=100_000)
    """Scored records that the strategy `window` fits its weights on."""
    static: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Fixed weights by member; all members alike where it is empty."""


class Drift(_Section):
    """How drift is found."""

    detector: Literal["adwin", "page-hinkley"] = "adwin"
    """The detector of changes; ADWIN chooses its own window."""
    delta: float = Field(0.05, gt=0, lt=1)
    """ADWIN's confidence; smaller is calmer."""
    threshold: float = Field(3.0, gt=0)
    """Page-Hinkley's; larger is calmer."""
    size: float = Field(0.6, gt=0, lt=1)
    """Least size of a change that raises an alert: 1 is a column moving further than it ever does, or an error of 5
    usual ones."""


@lru_cache(maxsize=1000)
def _columns(target: str, features: tuple[str, ...]) -> tuple[str, ...]:
    """Kept, since every record asks for it several times."""
    return (target, *(name for name in features if name != target))


class StreamDefinition(_Section):
    """A kind of data: its columns, its horizon, and how it is learned and weighed."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """Name of the stream in topics, paths, addresses and metrics."""
    description: str = ""
    """A sentence for people."""
    time: Time
    key: str | None = None
    """The column that names the series; without it the stream is one series."""
    group: str | None = None
    """Series that see each other's newest values: `all` of the stream, or those with the same value in the column of
    this name, such as `site`. A group is read by one worker."""
    together: bool = False
    """Whether a group is forecast as a whole, when its last series of that time has come, or the first of a later time.
    Then each series knows what the others measured at the same time."""
    target: str = Field(min_length=1)
    """The column that is forecast."""
    features: dict[str, Literal["level", "angle"]] = Field(default_factory=dict)
    """Columns to learn from in addition to the target; an `angle` is in degrees and wraps."""
    futures: dict[str, Literal["level", "angle"]] = Field(default_factory=dict)
    """Columns whose values are known ahead, such as a weather forecast; an `angle` is in degrees and wraps."""
    lags: int = Field(12, ge=2, le=1000)
    """Records, the newest included, that the models look back on."""
    horizon: Horizons = (1,)
    """Steps ahead that are forecast, ascending."""
    patience: int = Field(12, ge=1, le=1000)
    """Newest records of a key whose missing target may still be brought."""
    window: int = Field(250, ge=2, le=1_000_000)
    """Records of a key in one archived window."""
    sources: dict[str, SourceOrPath] = Field(default_factory=dict, alias="columns")
    """Columns, also those of time, key and group, that devices send under another name, in another unit or inside of
    something: by column its source, or just its path."""
    unknown: Literal["ignore", "refuse"] = "ignore"
    """Rows with fields that nothing here names: the fields are ignored, or such rows refused."""
    csv: CsvFormat = CsvFormat()
    keys: int = Field(10_000, ge=1)
    """Keys that the stream may have; ingest refuses records of further ones."""
    forget: Annotated[int, BeforeValidator(_seconds), WithJsonSchema(LENGTH_OF_TIME)] = 30 * DAY_S
    """A key that was silent for so long, by the time of the stream's records, such as `30d`, is forgotten and makes
    room for another; seconds in memory. It is never less than what a forecast looks back on and ahead."""
    season_lengths: Annotated[tuple[SeasonLength, ...], BeforeValidator(_listed)] | None = Field(None, alias="season")
    """The models look back on the same time so long ago, such as `[1d, 7d]`; seconds in memory. By default a day and a
    week, each where it is a whole number of periods and more than one; none where a day has more than 1,440."""
    calendar: Calendar = Calendar()
    mqtt: Mqtt | None = None
    training: TrainingOptions = TrainingOptions()
    retraining: Retraining = Retraining()
    gate: Gate = Gate()
    weighting: Weighting = Weighting()
    drift: Drift = Drift()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if list(self.horizon) != sorted(set(self.horizon)):
            raise ValueError(f"horizon: found {list(self.horizon)}, expected ascending steps, each once")
        impossible = set(self.season_lengths or ()) - set(_possible_seasons(self.time.period))
        if impossible:
            raise ValueError(f"season: {_refused_seasons(impossible, self.time.period)}")
        if self.mqtt is not None and self.mqtt.payload == "number" and len(self.columns) > 1:
            raise ValueError("mqtt: found payload number, expected json or csv: the stream has several columns")
        if self.mqtt is not None:
            self._check_group_of(self.mqtt)
            if self.mqtt.futures is not None and not self.futures:
                raise ValueError("mqtt.futures: found a topic, expected none: the stream has no `futures`")
        if self.together and self.group is None:
            raise ValueError("together: found true without a group, expected `group: all` or a column's name")
        if self.group is not None and self.key is None:
            raise ValueError(f"group: found {self.group!r} in a stream of one series, expected a key")
        names = [self.time.column, *self.columns, *([self.key] if self.key else []), *self.group_columns]
        names += [*self.futures, *([ISSUED] if self.futures else [])]
        twice = sorted({name for name in names if names.count(name) > 1})
        if ISSUED in twice:
            raise ValueError(f"found {ISSUED!r} as a column, expected another name: futures have it for their issue")
        if twice:
            raise ValueError(f"found {twice[0]!r} as more than one of time, key, group, target, features and futures")
        self._check_sources(names)
        return self

    def _check_sources(self, names: Collection[str]) -> None:
        strange = [name for name in self.sources if name not in names]
        if strange:
            raise ValueError(f"columns: found {strange[0]!r}, expected one of {', '.join(names)}")
        numbers = {*self.columns, *self.futures}
        for name, source in self.sources.items():
            if source.constant is not None and name not in {self.key, *self.group_columns}:
                raise ValueError(
                    f"columns.{name}: found a constant, expected it for the columns of key and group alone"
                )
            if source.converts and name not in numbers:
                problem = "found how numbers are written, expected a path or a constant"
                raise ValueError(f"columns.{name}: {problem}: this column is no number")

    def _check_group_of(self, mqtt: Mqtt) -> None:
        is_named = "{group}" in mqtt.topic
        if (is_named or "{group}" in (mqtt.futures or "")) and not self.group_columns:
            raise ValueError("mqtt: found {group} in the topic, expected it only where `group` names a column")
        if mqtt.payload == "number" and self.group_columns and not is_named:
            raise ValueError(f"mqtt: found no {{group}} in the topic, expected it: a number has no {self.group!r}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The measured columns, the target first."""
        return _columns(self.target, tuple(self.features))

    @property
    def mapped(self) -> "StreamDefinition":
        """The same for rows that were mapped already: they have the definition's own columns, and plain times."""
        time = self.time.model_copy(update={"format": None})
        return self.model_copy(update={"sources": {}, "time": time, "csv": CsvFormat(), "unknown": "ignore"})

    @property
    def group_columns(self) -> tuple[str, ...]:
        """The column that names a series' group, or none: all series of the stream are one, or each is alone."""
        return () if self.group in {None, EVERY_SERIES} else (str(self.group),)

    @property
    def angles(self) -> tuple[bool, ...]:
        """Which of `columns` wrap at 360 degrees."""
        return tuple(self.features.get(name) == "angle" for name in self.columns)

    @property
    def future_angles(self) -> tuple[bool, ...]:
        """Which of `futures` wrap at 360 degrees."""
        return tuple(kind == "angle" for kind in self.futures.values())

    @property
    def kept_ahead(self) -> int:
        """Periods that futures are kept for, that of the newest record included: to the longest horizon, and a day
        further, since plans of the next day come early. 0 without futures."""
        day = -(-DAY_S // self.time.period)
        return min(MOST_AHEAD, self.horizon[-1] + day + 1) if self.futures else 0

    @property
    def zone(self) -> str:
        """The time zone of the calendar."""
        return self.calendar.zone or ("UTC" if self.time.zone == "required" else self.time.zone)

    @property
    def seasons(self) -> tuple[int, ...]:
        """Records in each length of time that is looked back on, ascending."""
        lengths = _possible_seasons(self.time.period) if self.season_lengths is None else set(self.season_lengths)
        return tuple(length // self.time.period for length in sorted(lengths))

    @property
    def season(self) -> int:
        """Records in a day, or 0 where it is not looked back on."""
        return self._records_in(DAY_S)

    @property
    def week(self) -> int:
        """Records in a week, or 0 where it is not looked back on."""
        return self._records_in(SEASONS["7d"])

    def _records_in(self, length: int) -> int:
        return next((records for records in self.seasons if records * self.time.period == length), 0)

    @property
    def longest_silence(self) -> int:
        """Milliseconds of silence after which a key is forgotten: a forecast that awaits its truth is not."""
        return 1000 * max(self.forget, (self.lags + self.horizon[-1] + self.patience) * self.time.period)

    @property
    def fingerprint(self) -> str:
        """A hash of what a model's inputs and outputs depend on; a model of another fingerprint can't serve."""
        neighbours = ["neighbours", self.together] if self.group is not None else []
        shape = [INPUTS, self.time.period, self.columns, self.angles, self.lags, self.horizon]
        futures = ["futures", list(self.futures.items())] if self.futures else []
        shape += [*self._own_calendar, *neighbours, *futures]
        return hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:16]

    @property
    def _own_calendar(self) -> list[object]:
        """Zone, holidays and seasons where they are not the default, which leaves the fingerprint as it was."""
        usual = [length // self.time.period for length in _possible_seasons(self.time.period)]
        own: list[object] = [self.zone, self.calendar.holidays, list(self.seasons)]
        return [] if own == ["UTC", None, usual] else own


def _possible_seasons(period: int) -> list[int]:
    """Lengths of time that are whole numbers of periods and more than one; none for a stream that is too fast."""
    is_slow = period * LONGEST_SEASON >= DAY_S
    return [length for length in SEASONS.values() if is_slow and length % period == 0 and length >= 2 * period]


def _refused_seasons(impossible: Collection[int], period: int) -> str:
    refused = [name for name, length in SEASONS.items() if length in impossible]
    possible = [name for name, length in SEASONS.items() if length in _possible_seasons(period)]
    return (
        f"found {', '.join(refused)}, expected {' or '.join(possible) or 'an empty list'}: a whole number of "
        f"periods and more than one, with at most {LONGEST_SEASON:,} periods a day"
    )


def parse(text: str, source: str) -> StreamDefinition:
    """The definition in YAML `text`. `source` names it in errors. Raises InvalidDefinition."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidDefinition(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InvalidDefinition(f"{source}: found {type(content).__name__}, expected keys and values such as `name: …`")
    try:
        return StreamDefinition.model_validate(content)
    except ValidationError as error:
        raise InvalidDefinition("\n".join(_explain(detail, tree, source) for detail in error.errors())) from error


def load(path: Path) -> StreamDefinition:
    """The definition in the file `path`. Raises InvalidDefinition."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDefinition(f"{path}: can't be read: {error}") from error
    return parse(text, str(path))


def refusal(
    streams: Mapping[str, StreamDefinition],
    name: str,
    values: Collection[str] | None = None,
    *,
    future: bool = False,
    times: Collection[int] = (),
) -> str | None:
    """Why a message of the stream `name` can't be used, or None. values: what a record has; it needs all columns.
    future: whether it is a future, which needs all of those. times: all that it has, in milliseconds."""
    stream = streams.get(name)
    if stream is None:
        return f"found stream {name!r}, expected one of {sorted(streams)}"
    if impossible := [t for t in times if not 0 <= t < LATEST]:
        return f"found the time {impossible[0]}, expected milliseconds from 1970 on, before the year 2100"
    if future and not stream.futures:
        return f"found a future, expected none: stream {name!r} has no `futures`"
    columns = tuple(stream.futures) if future else stream.columns
    missing = [column for column in columns if values is not None and column not in values]
    return f"found no value for {missing[0]!r}, expected {list(columns)}" if missing else None


def load_folder(folder: Path) -> dict[str, StreamDefinition]:
    """Every definition in `folder`, by stream name. Raises InvalidDefinition, also when there is none."""
    streams: dict[str, StreamDefinition] = {}
    for path in sorted(folder.glob("*.yaml")):
        stream = load(path)
        if stream.name in streams:
            raise InvalidDefinition(f"{path}: name: found {stream.name!r}, which another file has already")
        streams[stream.name] = stream
    if not streams:
        raise InvalidDefinition(f"{folder}: found no *.yaml file, expected at least one stream definition")
    return streams


def _explain(detail: Any, tree: yaml.Node | None, source: str) -> str:
    path = tuple(str(part) for part in detail["loc"])
    line = _line(tree, path)
    key = ".".join(path)
    where = f"{source}: line {line}" + (f": {key}" if key else "")
    if detail["type"] == "missing":
        return f"{where}: found nothing, expected this key"
    if detail["type"] == "extra_forbidden":
        return f"{where}: found a key that no stream definition has"
    message = detail["msg"].removeprefix("Value error, ")
    if not path:
        return f"{where}: {message}"
    expected = message if message.startswith("expected") else f"expected: {message}"
    return f"{where}: found {detail['input']!r}, {expected}"


def _line(node: yaml.Node | None, path: tuple[str, ...]) -> int:
    """The line of the deepest key of `path` that the file has."""
    line = 1
    for part in path:
        if not isinstance(node, yaml.MappingNode):
            break
        pair = next(((k, v) for k, v in node.value if k.value == part), None)
        if pair is None:
            break
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line
