"""What travels on the topics, and where bytes meet types.

Messages are JSON, so any Kafka tool can read them. Times are whole milliseconds since 1970-01-01 UTC. A missing number
is null on the wire and NaN or None in memory. A new optional field is compatible; anything else is a new topic version.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Self, TypeVar

import msgspec

from driftline.errors import PoisonMessage

Traceparent = str | msgspec.UnsetType
"""The W3C trace context of whoever put a message out, where a trace follows it; absent on the wire where none does."""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One timed row of a key, as ingest accepted it."""

    stream: str
    """The name of its source: that of the stream, or what several streams share."""
    key: str
    t: int
    values: dict[str, float | None]
    """By column of the definition, or of all definitions of the source."""
    received: float
    """Seconds since the epoch when ingest took it in; used to measure latency, never to compute."""
    group: str = ""
    """The group that the series belongs to, where the stream's definition names one: its records share a partition."""
    issued: int | None = None
    """Where it is a future, when its values were issued; `t` is the time that they are for, and `values` has the
    columns of the definition's `futures`. It is no record of what was measured."""
    traceparent: Traceparent = msgspec.UNSET
    """The W3C trace context of what put it out; absent where no trace follows it. Nothing is computed from it."""


class Observation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Readings of a sensor at any time, before they are on the grid of its stream."""

    stream: str
    key: str
    t: int
    values: dict[str, float | None]
    """By column of the stream's definition; those that it says nothing of are absent."""
    received: float
    """As of a record."""
    group: str = ""
    """As of a record."""
    traceparent: Traceparent = msgspec.UNSET
    """As of a record."""

    @classmethod
    def of(cls, record: Record) -> Self:
        """From a row that a door has read as a record."""
        values: dict[str, float | None] = {n: value for n, value in record.values.items() if value is not None}
        return cls(record.stream, record.key, record.t, values, record.received, record.group, record.traceparent)


class Forecast(msgspec.Struct, frozen=True):
    """The forecasts of every member at t, and the value observed at t."""

    stream: str
    key: str
    t: int
    observed: float | None
    """The target's value at t: the truth for what was forecast `horizon` periods before."""
    horizon: list[int]
    """Steps ahead; lists of values are in this order."""
    members: dict[str, list[float | None]]
    """Per member one value a horizon; a member that does not forecast is absent or null."""
    versions: dict[str, str]
    """The model version behind each member that is a model."""
    received: float
    shifts: dict[str, tuple[float, float]] = {}
    """Columns that are further than usual from where they have been: in [0, 1], 1 is further than ever, and in the
    column's units."""
    grid_t: int | None = None
    """The time on the series' grid that `t` belongs to, see `driftline.streams.grid`; `observed` scores the forecasts
    for it. None in messages of former releases."""
    skills: dict[str, list[float]] = {}
    """Per member that is a model its skill on the hold-out, as its manifest reports it, one a horizon."""
    traceparent: Traceparent = msgspec.UNSET
    """As of a record."""


class Blend(msgspec.Struct, frozen=True):
    """The weighted forecast at t, and all that it was made of."""

    stream: str
    key: str
    t: int
    observed: float | None
    horizon: list[int]
    value: list[float | None]
    """The published values, one a horizon; null where no member took part."""
    strategy: str
    """The active weighting strategy, the one behind `value`."""
    strategies: dict[str, list[float | None]]
    """The values of every strategy."""
    weights: dict[str, list[float]]
    """Per member the active strategy's weight, one a horizon; they sum to 1 over the members that took part."""
    members: dict[str, list[float | None]]
    """As in the forecast, within the stream's range, where it has one."""
    versions: dict[str, str]
    """As in the forecast."""
    received: float
    lower: list[float | None] = []
    """Lower end of the 90 % prediction interval, one a horizon."""
    upper: list[float | None] = []
    """Its upper end."""
    guarded: list[bool] = []
    """Per horizon whether the guard publishes persistence, since the strategy has fallen behind it."""
    grid_t: int | None = None
    """As in the forecast."""
    times: list[int] = []
    """The times that `value` is for, one a horizon: so many periods after `grid_t`."""
    quantiles: dict[str, list[float | None]] = {}
    """By level (0.05, 0.1, 0.5, 0.9 and 0.95) the value below which the truth lies with that probability, one a
    horizon; the outermost are `lower` and `upper`."""
    traceparent: Traceparent = msgspec.UNSET
    """As of a record."""


class Alert(msgspec.Struct, frozen=True):
    """Something a person should look at."""

    stream: str
    """Empty where it is about the edge itself."""
    key: str
    """The series; empty where it is about the whole stream, the edge's id where it is about the edge."""
    t: int
    kind: str
    """`drift`, `anomaly`, `negative-skill`, `rollback`, `stuck`, `missing`, `scale`, `gap`, `lost` or `identity`."""
    subject: str
    """The member, column or model that it is about."""
    detail: str
    """The finding, in a sentence."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that could not be used, with its origin. `payload` is base64 on the wire."""

    topic: str
    partition: int
    offset: int
    service: str
    """The service that could not use it."""
    reason: str
    payload: bytes


class StoreEvent(msgspec.Struct, frozen=True):
    """An S3 event notification of any dialect: `driftline.store.s3_events` reads it."""

    Records: list[Any] = []
    """As AWS, MinIO, versitygw and others fill it."""
    Message: str | None = None
    """An event in another's envelope."""


class EdgeId(msgspec.Struct, frozen=True):
    """Which edge the bus belongs to: the first on the topic is its id."""

    id: Annotated[str, msgspec.Meta(pattern="^[a-z0-9]{1,64}$")]


class StreamHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an edge does on one stream."""

    keys: int = 0
    """Series that it knows."""
    newest: int | None = None
    """Time of the newest record, milliseconds since the epoch."""
    scored: int = 0
    """Truths that met a forecast since the states began."""
    skill: dict[str, float] = {}
    """By horizon, of the blend against persistence, on about the last 100 truths of each series."""
    coverage: dict[str, float] = {}
    """By horizon, share of about the last 500 truths that fell into the 90 % interval."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """What an edge had to drop before it could be sent: `count` of `what`, of times from `since` to `until`,
    milliseconds since the epoch."""

    stream: str
    what: str
    since: int
    until: int
    count: int


class ServiceReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One replica of an edge's service reports on itself each minute, for the edge's heartbeat. The size depends on the
    number of streams, not on that of their series."""

    service: str
    replica: str
    """Another one at each start."""
    every: float
    """Seconds after which the next one is due."""
    lacks: dict[str, str] = {}
    """The reason by name of each readiness check that fails."""
    streams: dict[str, StreamHealth] = {}
    """Of the series that this replica owns; the combiner reports them."""
    waiting: int = 0
    """Windows that wait for the store; ingest reports them."""
    gaps: list[Gap] = []
    """The newest; ingest reports them."""


M = TypeVar("M", bound=msgspec.Struct)


@dataclass(frozen=True)
class Topic(Generic[M]):
    """A named topic of one message type; the only place where its bytes are made and read."""

    name: str
    type: type[M]
    key: Callable[[M], str]
    _encoder: msgspec.json.Encoder = field(default_factory=msgspec.json.Encoder, repr=False, compare=False)
    _decoder: msgspec.json.Decoder[M] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_decoder", msgspec.json.Decoder(self.type))

    def encode(self, message: M) -> bytes:
        return self._encoder.encode(message)

    def decode(self, payload: bytes) -> M:
        """Raises PoisonMessage for anything that is not this topic's message."""
        try:
            return self._decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PoisonMessage(f"{self.name}: expected a {self.type.__name__}: {error}") from error


def _series(message: Forecast | Blend | Alert) -> str:
    return f"{message.stream}/{message.key}"


def _group(record: Record | Observation) -> str:
    return f"{record.stream}/{record.group or record.key}"


def _origin(letter: DeadLetter) -> str:
    return letter.topic


def _replica(report: ServiceReport) -> str:
    return f"{report.service}/{report.replica}"


RECORDS = Topic("driftline.records.v1", Record, _group)
OBSERVATIONS = Topic("driftline.observations.v1", Observation, _group)
FORECASTS = Topic("driftline.forecasts.v1", Forecast, _series)
BLENDS = Topic("driftline.blends.v1", Blend, _series)
ALERTS = Topic("driftline.alerts.v1", Alert, _series)
EDGE = Topic("driftline.edge.v1", EdgeId, lambda _: "edge")
REPORTS = Topic("driftline.reports.v1", ServiceReport, _replica)
DEAD_LETTERS = Topic("driftline.dead-letters.v1", DeadLetter, _origin)


def store_events(name: str) -> Topic[StoreEvent]:
    """The topic that an object store writes its events to."""
    return Topic(name, StoreEvent, lambda _: "")


def state_topic(service: str) -> str:
    """The compacted topic that holds a service's checkpoints."""
    return f"driftline.{service}.state.v1"
