"""A stream's definition: what its records look like, and how they are forecast.

Pure. It is read by `driftline.streams.definition_files`.
"""

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from driftline.arrays import Floats
from driftline.streams import possible_range, season_lengths, target_streams
from driftline.streams.data_sections import Calendar, CsvFormat, Grid, KafkaSource, Mqtt, SourceOrPath, Time
from driftline.streams.definition_values import (
    DAY_S,
    NAME,
    SEASONS,
    Horizons,
    LengthOfTime,
    Listed,
    Range,
    RangeOrByColumn,
    SeasonLength,
    Section,
)
from driftline.streams.model_sections import Drift, Gate, Retraining, Rollout, TrainingOptions, Weighting
from driftline.streams.season_lengths import possible_lengths

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
        season_lengths.check(self.season_lengths or (), self.time.period)
        self._check_sections()
        if self.together and self.group is None:
            raise ValueError("together: found true without a group, expected `group: all` or a column's name")
        if self.group is not None and self.key is None:
            raise ValueError(f"group: found {self.group!r} in a stream of one series, expected a key")
        self._check_columns()
        target_streams.check(self.name, self.targets)
        possible_range.check(self.possible, self.awaited_columns)
        return self

    def _check_sections(self) -> None:
        if self.grid is not None:
            self.grid.check(self.time.period, dict(zip(self.columns, self.angles, strict=True)))
        if self.mqtt is not None:
            self.mqtt.check(self.columns, self.group if self.group_columns else None, on_grid=self.grid is not None)
            if self.mqtt.futures is not None and not self.futures:
                raise ValueError("mqtt.futures: found a topic, expected none: the stream has no `futures`")

    def _check_columns(self) -> None:
        names = [self.time.column, *self.columns, *self._identity]
        names += [*self.futures, *([ISSUED] if self.futures else [])]
        twice = sorted({name for name in names if names.count(name) > 1})
        if ISSUED in twice:
            raise ValueError(f"found {ISSUED!r} as a column, expected another name: futures have it for their issue")
        if twice:
            raise ValueError(f"found {twice[0]!r} as more than one of time, key, group, target, features and futures")
        strange = [name for name in self.sources if name not in names]
        if strange:
            raise ValueError(f"columns: found {strange[0]!r}, expected one of {', '.join(names)}")
        for name, source in self.sources.items():
            is_number = name in self.columns or name in self.futures
            source.check(name, is_number=is_number, is_identity=name in self._identity)

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
        columns = {*_columns(target, tuple(self.features)), *self.futures, self.time.column, *self._identity, ISSUED}
        return self.model_copy(
            update={
                "name": target_streams.name_of(self.name, target),
                "source_name": self.source,
                "target": target,
                "targets": (),
                "possible": self._range_of(target),
                "sources": {name: source for name, source in self.sources.items() if name in columns},
            }
        )

    @property
    def _identity(self) -> tuple[str, ...]:
        """The columns of key and group, as far as it has them."""
        return (*([self.key] if self.key else []), *self.group_columns)

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
        return possible_range.within(values, self.range)

    def beyond_range(self, values: Iterable[float | None]) -> int:
        """How many values of the target are not possible; missing ones are not counted."""
        return possible_range.count_beyond(values, self.range)

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
        lengths = possible_lengths(self.time.period) if self.season_lengths is None else set(self.season_lengths)
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
        usual = [length // self.time.period for length in possible_lengths(self.time.period)]
        own: list[object] = [self.zone, self.calendar.holidays, list(self.seasons)]
        return [] if own == ["UTC", None, usual] else own
