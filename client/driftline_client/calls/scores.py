"""How good forecasts are, and how their members are weighed. Pure."""

import msgspec

from driftline_client.calls.call import Call, get

PAGE = 1000


class ScoreLine(msgspec.Struct, frozen=True):
    """How a member or strategy did. Errors in the target's units; None before anything was scored."""

    n: int
    """Records on which it and persistence were scored."""
    rmse: float | None
    mae: float | None
    skill: float | None
    """1 - RMSE / RMSE(persistence) on the same records."""
    recent_rmse: float | None


class CoverageLine(msgspec.Struct, frozen=True):
    """How many truths fell into the 90 % interval, and how right the quantiles were."""

    n: int
    share: float | None
    recent: float | None
    """Over about the last 500."""
    pinball: float | None
    recent_pinball: float | None


class HorizonScore(msgspec.Struct, frozen=True):
    """The scores of one horizon, by member and strategy; `blend` is what was published."""

    horizon: int
    scores: dict[str, ScoreLine]
    coverage: CoverageLine


class StreamScore(msgspec.Struct, frozen=True):
    """Scores over all series of a stream."""

    stream: str
    active: str
    series: int
    horizons: list[HorizonScore]


class HorizonWeighing(msgspec.Struct, frozen=True):
    """Weights of one horizon by strategy and member; the row `blend` is what is published."""

    horizon: int
    weights: dict[str, dict[str, float]]
    scores: dict[str, ScoreLine]
    guarded: bool
    """Whether persistence is published instead of the strategy."""
    why: dict[str, str]
    """For the blend and every member a sentence."""


class SeriesWeighing(msgspec.Struct, frozen=True):
    """The weights of one series."""

    stream: str
    key: str
    active: str
    horizons: list[HorizonWeighing]


class KnownStream(msgspec.Struct, frozen=True):
    """A stream and its series."""

    stream: str
    description: str
    target: str
    unit: str | None
    period: int
    """Seconds between two records of a key."""
    horizon: list[int]
    keys: list[str]
    range: tuple[float | None, float | None] | None = None
    """Least and greatest possible value of the target, where the definition names them."""


class RaisedAlert(msgspec.Struct, frozen=True):
    """Something a person should look at. t: milliseconds since the epoch."""

    stream: str
    key: str
    t: int
    kind: str
    subject: str
    """The member, column or model that it is about."""
    detail: str


def scores() -> Call[list[StreamScore]]:
    """How well every member and strategy did, stream by stream."""
    return get("combiner", "/v1/scores", list[StreamScore])


def weights(stream: str | None = None, key: str | None = None) -> Call[list[SeriesWeighing]]:
    """Weights of the members and the reasons, series by series; of one stream or key alone."""
    named = [(name, value) for name, value in (("stream", stream), ("key", key)) if value is not None]
    return get("combiner", "/v1/weights", list[SeriesWeighing], [*named, ("limit", PAGE)])


def streams() -> Call[list[KnownStream]]:
    """The streams and those of their series that have had a forecast."""
    return get("combiner", "/v1/series", list[KnownStream])


def alerts(limit: int | None = None) -> Call[list[RaisedAlert]]:
    """The latest alerts of all series, the newest first. limit: how many at most; None for all that are remembered."""
    return get("combiner", "/v1/alerts", list[RaisedAlert], [("limit", limit)] if limit is not None else [])
