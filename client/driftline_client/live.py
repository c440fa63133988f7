"""Blends and alerts of a series as they come. Pure.

Both clients read `GET /v1/live` and go on, after a lost connection, behind the last blend that came.
"""

from collections.abc import Iterable, Mapping

import msgspec
from httpx_sse import ServerSentEvent

from driftline_client.calls.call import Call, Reply, decoded
from driftline_client.calls.scores import RaisedAlert

PATH = "/v1/live"
FROM_FIRST = -1
"""Before all that is remembered."""


class LiveBlend(msgspec.Struct, frozen=True):
    """A weighted forecast and all that it was made of. Lists have one value a horizon; times are milliseconds since the
    epoch."""

    stream: str
    key: str
    t: int
    """Of the record that it was made with."""
    observed: float | None
    """The target's value in the record."""
    horizon: list[int]
    """Steps ahead."""
    value: list[float | None]
    """The published values."""
    strategy: str
    strategies: dict[str, list[float | None]] = {}
    weights: dict[str, list[float]] = {}
    members: dict[str, list[float | None]] = {}
    versions: dict[str, str] = {}
    received: float = 0.0
    """Seconds since the epoch when the record was taken in."""
    lower: list[float | None] = []
    """Lower ends of the 90 % interval."""
    upper: list[float | None] = []
    guarded: list[bool] = []
    grid_t: int | None = None
    """The time on the stream's grid that the record belongs to."""
    times: list[int] = []
    """The times that `value` is for."""
    quantiles: dict[str, list[float | None]] = {}
    traceparent: str | msgspec.UnsetType = msgspec.UNSET
    """Of the trace that it belongs to, where traces are on."""


LiveEvent = LiveBlend | RaisedAlert
EVENTS: Mapping[str, type[LiveBlend | RaisedAlert]] = {"blend": LiveBlend, "alert": RaisedAlert}


class LiveReader:
    """What was read of one series, so that nothing is read twice. after: a time, milliseconds since the epoch. known:
    alerts that are news no more."""

    def __init__(self, stream: str, key: str, after: int, known: Iterable[RaisedAlert] = ()) -> None:
        self._series = {"stream": stream, "key": key}
        self._after = after
        self._alerts = set(known)

    @property
    def call(self) -> Call[None]:
        """Asks for the events behind the last one."""
        query = [*self._series.items(), ("after", str(self._after))]
        return Call("combiner", "GET", PATH, _refused, query, headers={"Accept": "text/event-stream"})

    def take(self, event: ServerSentEvent) -> LiveEvent | None:
        """The event's content; None for one that came before, and for events of later releases."""
        kind = EVENTS.get(event.event)
        if kind is None:
            return None
        content = decoded(event.data.encode(), kind)
        if isinstance(content, RaisedAlert):
            return self._new(content)
        self._after = max(self._after, content.t)
        return content

    def _new(self, alert: RaisedAlert) -> RaisedAlert | None:
        """Alerts have no place to go on from: the service sends those that it remembers with each connection."""
        if alert in self._alerts:
            return None
        self._alerts.add(alert)
        return alert


def _refused(reply: Reply) -> None:
    """A reply that is not live."""
    raise reply.error()
