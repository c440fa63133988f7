"""A stream's definition: what its records look like, and how they are forecast.

Pure. It is read by `driftline.streams.definition_files`.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from driftline.arrays import Floats, clipped
from driftline.streams import topic_filters
from driftline.streams.data_sections import Calendar, CsvFormat, Grid, KafkaSource, Mqtt, SourceOrPath, Time
from driftline.streams.definition_values import (
    DAY_S,
    SEASONS,
    Horizons,
    LengthOfTime,
    Listed,
    Range,
    RangeOrByColumn,
    SeasonLength,
    Section,
)
from driftline.streams.grid import LATEST
from driftline.streams.model_sections import Drift, Gate, Retraining, Rollout, TrainingOptions, Weighting

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""Of streams and sources."""
EVERY_SERIES = "all"
"""The group of all series of a stream."""
SINGLE_KEY = "all"
"""The key of a stream that is one series and has no key column."""
AS_NUMBER = (
    "a target is forecast as a plain number, for which 359 to 1 is a jump; "
    "send its sine and cosine, and forecast them as two `targets`"
)
"""What there is to say of a target that is an angle."""
ISSUED = "issued"
"""The column that says when a future was issued."""
MOST_AHEAD = 2000
"""Periods ahead of the newest record that futures are kept for, at most."""
INPUTS = 4
"""Which inputs `driftline.streams.features` makes; counted up with each change, so that no older model is fed."""
LONGEST_SEASON = 1440
"""Records of a day that are kept to look back on; a faster stream has no season."""


@lru_cache(maxsize=1000)
def _columns(target: str, features: tuple[str, ...]) -> tuple[str, ...]:
    """Kept, since every record asks for it several times."""
    return tuple(dict.fromkeys((target, *features)))


class StreamDefinition(Section):
    """A kind of data: its columns, its horizon, and how it is learned and weighed."""

    name: str = Field(pattern=NAME)
    """Name of the stream in topics, paths, addresses and metrics."""
    description: str = ""
    """A sentence for people."""
    source_name: str | None = Field(None, alias="source", pattern=NAME)
    """The name that its records are sent and archived under, where other streams share them: each takes its columns
    from them. By default the stream's own name."""
    time: Time
    grid: Grid | None = None
    """How what comes at any time becomes one record for each period; without it every row is a record."""
    key: str | None = None
    """The column that names the series; without it the stream is one series."""
    group: str | None = None
    """Series that see each other's newest values: `all` of the stream, or those with the same value in the column of
    this name, such as `site`. A group is read by one worker."""
    together: bool = False
    """Whether a group is forecast as a whole, when its last series of that time has come, or the first of a later time.
    Then each series knows what the others measured at the same time."""
    target: str = Field(min_length=1)
    """The column that is forecast. It or `targets` is needed."""
    targets: tuple[Annotated[str, Field(min_length=1)], ...] = Field((), min_length=1)
    """Several columns that are forecast: a stream for each, named `<name>-<target>` and all of one source, which has
    the definition's name unless `source` gives another. The other targets are among its columns where `features` names
    them."""
    possible: RangeOrByColumn | None = Field(None, alias="range")
    """The least and the greatest value that the target can have, such as `[0, 3000]`, or `[0, null]` where one side is
    open; with several `targets` by column, such as `{power: [0, 3000]}`. No forecast, quantile or interval end that is
    published lies beyond it. Readings beyond it are kept as they are, and counted as the end that they are beyond
    wherever forecasts are compared with them."""
    features: dict[str, Literal["level", "angle"]] = Field(default_factory=dict)
    """Columns to learn from in addition to the target; an `angle` is in degrees and wraps. A target is forecast as a
    plain number, for which 359 to 1 is a jump: of a direction send sine and cosine, and forecast them as two
    `targets`."""
    futures: dict[str, Literal["level", "angle"]] = Field(default_factory=dict)
    """Columns whose values are known ahead, such as a weather forecast; an `angle` is in degrees and wraps."""
    lags: int = Field(12, ge=2, le=1000)
    """Records, the newest included, that the models look back on."""
    horizon: Horizons = (1,)
    """Steps ahead that are forecast, ascending."""
    patience: int = Field(12, ge=1, le=1000)
    """Newest periods of a key whose missing target, or whole record, may still be brought."""
    window: int = Field(250, ge=2, le=1_000_000)
    """Records of a key in one archived window."""
    sources: dict[str, SourceOrPath] = Field(default_factory=dict, alias="columns")
    """Columns, also those of time, key and group, that devices send under another name, in another unit or inside of
    something: by column its source, or just its path."""
    rows: str | None = Field(None, min_length=1)
    """The way to a list inside of a JSON object whose elements are the rows, such as `samples`; each row has the other
    fields of the object, too. An element that is a list itself has the fields `0`, `1` and so on."""
    unknown: Literal["ignore", "refuse"] = "ignore"
    """Rows with fields that nothing here names: the fields are ignored, or such rows refused."""
    csv: CsvFormat = CsvFormat()
    keys: int = Field(10_000, ge=1)
    """Keys that the stream may have; ingest refuses records of further ones."""
    forget: LengthOfTime = 30 * DAY_S
    """A key that was silent for so long, by the time of the stream's records, such as `30d`, is forgotten and makes
    room for another; seconds in memory. It is never less than what a forecast looks back on and ahead."""
    season_lengths: Annotated[tuple[SeasonLength, ...], Listed] | None = Field(None, alias="season")
    """The models look back on the same time so long ago, such as `[1d, 7d]`; seconds in memory. By default a day and a
    week, each where it is a whole number of periods and more than one; none where a day has more than 1,440."""
    calendar: Calendar = Calendar()
    mqtt: Mqtt | None = None
    kafka: KafkaSource | None = None
    training: TrainingOptions = TrainingOptions()
    retraining: Retraining = Retraining()
    gate: Gate = Gate()
    rollout: Rollout = Rollout()
    weighting: Weighting = Weighting()
    drift: Drift = Drift()

    @model_validator(mode="before")
    @classmethod
    def _with_first_target(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        if "target" in content and "targets" in content:
            raise ValueError("found both `target` and `targets`, expected one of them")
        targets = content.get("targets")
        return content | {"target": targets[0]} if isinstance(targets, list | tuple) and targets else content

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if list(self.horizon) != sorted(set(self.horizon)):
            raise ValueError(f"horizon: found {list(self.horizon)}, expected ascending steps, each once")
        impossible = set(self.season_lengths or ()) - set(_possible_seasons(self.time.period))
        if impossible:
            raise ValueError(f"season: {_refused_seasons(impossible, self.time.period)}")
        self._check_sections()
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
        self._check_targets()
        self._check_range()
        return self

    def _check_targets(self) -> None:
        names = [_named_after(self.name, target) for target in self.targets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"targets: found two whose stream would be {twice[0]!r}, expected different names")
        impossible = [name for name in names if re.fullmatch(NAME, name) is None]
        if impossible:
            raise ValueError(f"targets: found a stream {impossible[0]!r}, expected a name of at most 63 characters")

    def _check_range(self) -> None:
        if isinstance(self.possible, dict):
            strange = [name for name in self.possible if name not in self.awaited_columns]
            if strange:
                raise ValueError(f"range: found {strange[0]!r}, expected one of {', '.join(self.awaited_columns)}")
        elif self.possible is not None and len(self.targets) > 1:
            columns = ", ".join(f"{target}: [0, null]" for target in self.targets)
            raise ValueError(f"range: found one for several targets, expected one by column: {{{columns}}}")

    def _check_sections(self) -> None:
        if self.grid is not None:
            self.grid.check(self.time.period, dict(zip(self.columns, self.angles, strict=True)))
        if self.mqtt is not None:
            self._check_columns_of(self.mqtt)
            self._check_group_of(self.mqtt)
            if self.mqtt.futures is not None and not self.futures:
                raise ValueError("mqtt.futures: found a topic, expected none: the stream has no `futures`")

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

    def _check_columns_of(self, mqtt: Mqtt) -> None:
        in_topic = topic_filters.COLUMN in mqtt.topic
        if in_topic and self.grid is None:
            raise ValueError("mqtt: found {column} in the topic, expected a `grid` too, which makes records of them")
        if mqtt.payload == "number" and len(self.columns) > 1 and not in_topic:
            raise ValueError(
                "mqtt: found payload number, expected json or csv, or {column} in the topic: the stream has several "
                "columns"
            )
        if topic_filters.COLUMN in (mqtt.futures or ""):
            raise ValueError("mqtt.futures: found {column}, expected it in the topic of records alone")

    def _check_group_of(self, mqtt: Mqtt) -> None:
        is_named = "{group}" in mqtt.topic
        if (is_named or "{group}" in (mqtt.futures or "")) and not self.group_columns:
            raise ValueError("mqtt: found {group} in the topic, expected it only where `group` names a column")
        if mqtt.payload == "number" and self.group_columns and not is_named:
            raise ValueError(f"mqtt: found no {{group}} in the topic, expected it: a number has no {self.group!r}")

    @property
    def source(self) -> str:
        """The name that its records are sent and archived under."""
        return self.source_name or self.name

    @property
    def shares(self) -> bool:
        """Whether its records may be those of other streams as well, so that they need not have its columns."""
        return bool(self.targets) or self.source_name is not None

    @property
    def streams(self) -> "tuple[StreamDefinition, ...]":
        """Itself, or a stream for each of its `targets`."""
        return tuple(self._of_target(target) for target in self.targets) or (self,)

    def _of_target(self, target: str) -> "StreamDefinition":
        columns = {*_columns(target, tuple(self.features)), *self.futures, *self._naming}
        return self.model_copy(
            update={
                "name": _named_after(self.name, target),
                "source_name": self.source,
                "target": target,
                "targets": (),
                "possible": self._range_of(target),
                "sources": {name: source for name, source in self.sources.items() if name in columns},
            }
        )

    @property
    def _naming(self) -> tuple[str, ...]:
        """The columns of time, key, group and issue."""
        return (self.time.column, *([self.key] if self.key else []), *self.group_columns, ISSUED)

    @property
    def awaited_columns(self) -> tuple[str, ...]:
        """The columns whose value may be brought later: all that are forecast."""
        return self.targets or (self.target,)

    @property
    def columns(self) -> tuple[str, ...]:
        """The measured columns, the target first."""
        return _columns(self.target, (*self.features, *self.targets))

    @property
    def mapped(self) -> "StreamDefinition":
        """The same for rows that were mapped already: they have the definition's own columns, and plain times."""
        time = self.time.model_copy(update={"format": None, "date": None})
        plain = {"sources": {}, "time": time, "csv": CsvFormat(), "unknown": "ignore", "rows": None}
        return self.model_copy(update=plain)

    @property
    def without_grid(self) -> "StreamDefinition":
        """The same for records that are on the grid already."""
        return self.model_copy(update={"grid": None})

    @property
    def grid_fills(self) -> bool:
        """Whether its grid keeps the values of silent sensors."""
        return self.grid is not None and self.grid.fill == "last"

    @property
    def group_columns(self) -> tuple[str, ...]:
        """The column that names a series' group, or none: all series of the stream are one, or each is alone."""
        return () if self.group in {None, EVERY_SERIES} else (str(self.group),)

    @property
    def unit(self) -> str | None:
        """The unit of the target, for people, where the definition names one."""
        source = self.sources.get(self.target)
        return (source.unit or "").strip() or None if source is not None else None

    @property
    def range(self) -> Range | None:
        """Least and greatest possible value of the target, None for an open side; None where nothing is known."""
        return self._range_of(self.target)

    def _range_of(self, target: str) -> Range | None:
        return self.possible.get(target) if isinstance(self.possible, dict) else self.possible

    def within(self, values: Floats) -> Floats:
        """Values of the target, each brought to the nearest one that is possible; NaN stays.

        Of a forecast and a truth that both are, neither is further from the other than before: no error grows.
        """
        if self.range is None:
            return values
        lowest, highest = self.range
        return clipped(values, -np.inf if lowest is None else lowest, np.inf if highest is None else highest)

    def beyond_range(self, values: Iterable[float | None]) -> int:
        """How many values of the target are not possible; missing ones are not counted."""
        if self.range is None:
            return 0
        lowest, highest = self.range
        low, high = -np.inf if lowest is None else lowest, np.inf if highest is None else highest
        return sum(not low <= value <= high for value in values if value is not None)

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
        shape += [*self._own_calendar, *neighbours, *futures, *self._counted]
        return hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:16]

    @property
    def _counted(self) -> list[object]:
        """What a grid makes another quantity of."""
        grid = self.grid
        takes = {name: grid.take_of(name) for name in self.columns} if grid is not None else {}
        counted = sorted((name, take) for name, take in takes.items() if take in {"sum", "difference"})
        return ["grid", counted] if counted else []

    @property
    def _own_calendar(self) -> list[object]:
        """Zone, holidays and seasons where they are not the default, which leaves the fingerprint as it was."""
        usual = [length // self.time.period for length in _possible_seasons(self.time.period)]
        own: list[object] = [self.zone, self.calendar.holidays, list(self.seasons)]
        return [] if own == ["UTC", None, usual] else own


def _named_after(name: str, target: str) -> str:
    """The stream of one of several targets: lower case, and dashes for all that no name has."""
    return f"{name}-{re.sub('[^a-z0-9]+', '-', target.lower()).strip('-')}"


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


def refusal(
    streams: Mapping[str, StreamDefinition],
    name: str,
    values: Collection[str] | None = None,
    *,
    future: bool = False,
    times: Collection[int] = (),
) -> str | None:
    """Why a message of the stream `name` can't be used, or None. values: what a record has; it needs all columns, or
    one of them where streams share it. future: whether it is a future, which needs those instead. times: all that it
    has, in milliseconds."""
    stream = streams.get(name)
    if stream is None:
        return f"found stream {name!r}, expected one of {sorted(streams)}"
    for t in times:
        if not 0 <= t < LATEST:
            return f"found the time {t}, expected milliseconds from 1970 on, before the year 2100"
    if future and not stream.futures:
        return f"found a future, expected none: stream {name!r} has no `futures`"
    columns = tuple(stream.futures) if future else stream.columns
    missing = [column for column in columns if values is not None and column not in values]
    if stream.shares and len(missing) < len(columns):
        # It was taken in before one of the streams was there.
        return None
    return f"found no value for {missing[0]!r}, expected {list(columns)}" if missing else None
