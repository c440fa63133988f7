"""What the dashboard shows: the newest blends of every series and the newest alerts, read from their topics.

It reads all partitions outside any group, so it knows the series of all replicas, and only what was acknowledged.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from weakref import WeakValueDictionary

import msgspec
import stamina
from fastapi.sse import ServerSentEvent

from driftline.bus.port import Bus
from driftline.errors import BusUnavailable, PoisonMessage
from driftline.messages import ALERTS, BLENDS, Alert, Blend, Topic
from driftline.stoppable import StoppableWork
from driftline.worker.stream_step import Series
from driftline_combiner.recent_truths import TRUTHS, RecentTruths
from driftline_combiner.remembered_blends import BLOCK, RememberedBlends

SERIES_REMEMBERED = 10_000
"""Series that are remembered; the one that was silent longest is forgotten first. With little to say each takes some
4 kB."""
SERIES_READ = 100
"""Of a series that somebody reads live as much is kept as if there were no more than these."""
BYTES_REMEMBERED = 10_000_000
"""Of the blends of all series together, as they are kept, which is some 30 MB of JSON: with many series, or many
horizons, there are fewer of each. A reader of `/v1/live` misses none that it asks for before so much else has come."""
LATEST_ALERTS = 200
TAKEN_AT_ONCE = 100
"""Blends that are taken in before other tasks get a turn: at times all of them have a block to be compressed."""


class _BlendName(msgspec.Struct, frozen=True):
    """What a blend is called by, and the truth that it came with."""

    stream: str
    key: str
    t: int
    observed: float | None = None


class PackedBlend(msgspec.Struct, frozen=True):
    """A blend as it lies on its topic, where nobody looks at what is in it."""

    name: _BlendName
    payload: bytes


class _PackedBlends(Topic[PackedBlend]):
    """The topic of blends, of which names alone are read: a page that nobody looks at costs next to nothing."""

    _names = msgspec.json.Decoder(_BlendName)

    def decode(self, payload: bytes) -> PackedBlend:
        try:
            return PackedBlend(self._names.decode(payload), payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PoisonMessage(f"{self.name}: expected the name of a blend: {error}") from error


PACKED_BLENDS = _PackedBlends(BLENDS.name, PackedBlend, lambda blend: f"{blend.name.stream}/{blend.name.key}")


class DashboardBuffer:
    """Remembers `points` blends of each series, fewer if there are many; see
    `driftline.service.app.BackgroundJob`."""

    name = "page feed"

    def __init__(self, bus: Bus, points: int) -> None:
        self._bus = bus
        self._points = points
        self._series: OrderedDict[Series, RememberedBlends] = OrderedDict()
        self._truths: dict[Series, RecentTruths] = {}
        self._alerts: deque[Alert] = deque(maxlen=LATEST_ALERTS)
        self._newest_alerts: OrderedDict[Series, Alert] = OrderedDict()
        self._readers: Counter[Series] = Counter()
        self._encoder = msgspec.json.Encoder()
        self._work = StoppableWork()
        self._news: WeakValueDictionary[Series, asyncio.Event] = WeakValueDictionary()
        """By series what its readers wait for, as long as there are any."""

    async def run(self) -> None:
        await self._work.run(self._read())

    async def stop(self) -> None:
        await self._work.stop()

    async def _read(self) -> None:
        await asyncio.gather(self._read_blends(), self._read_alerts())

    @stamina.retry(on=BusUnavailable, attempts=None, timeout=None, wait_max=10.0)
    async def _read_blends(self) -> None:
        async for page in self._bus.tail(PACKED_BLENDS):
            for start in range(0, len(page), TAKEN_AT_ONCE):
                for envelope in page[start : start + TAKEN_AT_ONCE]:
                    self._take(envelope.value)
                await asyncio.sleep(0)
            self._wake((envelope.value.name.stream, envelope.value.name.key) for envelope in page)

    @stamina.retry(on=BusUnavailable, attempts=None, timeout=None, wait_max=10.0)
    async def _read_alerts(self) -> None:
        async for page in self._bus.tail(ALERTS):
            for envelope in page:
                self._take_alert(envelope.value)
            self._wake((envelope.value.stream, envelope.value.key) for envelope in page)

    def _take(self, blend: PackedBlend) -> None:
        series, t = (blend.name.stream, blend.name.key), blend.name.t
        blends = self._series.get(series)
        if blends is None:
            blends = self._series[series] = RememberedBlends()
            self._truths[series] = RecentTruths()
            while len(self._series) > SERIES_REMEMBERED:
                silent, _ = self._series.popitem(last=False)
                del self._truths[silent]
        if blends.last_t is not None and t <= blends.last_t:
            return  # sent again after a crash
        self._series.move_to_end(series)
        blends.add(t, blend.payload)
        self._truths[series].add(t, blend.name.observed)
        share = min(len(self._series), SERIES_READ) if self._readers[series] else len(self._series)
        blends.forget(self._points, BYTES_REMEMBERED // share)

    def _take_alert(self, alert: Alert) -> None:
        self._alerts.append(alert)
        series = (alert.stream, alert.key)
        self._newest_alerts[series] = alert
        self._newest_alerts.move_to_end(series)
        while len(self._newest_alerts) > SERIES_REMEMBERED:
            self._newest_alerts.popitem(last=False)

    def _wake(self, changed: Iterable[Series]) -> None:
        """Whoever waits for one of them looks again; who comes later waits for the next news."""
        for series in changed:
            if (news := self._news.pop(series, None)) is not None:
                news.set()

    def keys(self, stream: str) -> list[str]:
        """Of a stream the keys that have had a blend since this process runs."""
        return sorted(key for name, key in self._series if name == stream)

    def newest(self, series: Series) -> Blend | None:
        """The newest blend of a series."""
        blends = self._series.get(series)
        return None if blends is None or blends.last_t is None else self.at(series, blends.last_t)

    def at(self, series: Series, t: int) -> Blend | None:
        """The newest blend of a series that is not after a time, as far as it is remembered."""
        blends = self._series.get(series)
        payload = None if blends is None else blends.at(t)
        return None if payload is None else BLENDS.decode(payload)

    def between(self, series: Series, begin: int, end: int) -> Iterator[Blend]:
        """The blends of a series from `begin` on and before `end`, as far as they are remembered, in order of time."""
        blends = self._series.get(series)
        for t, payload in [] if blends is None else blends.after(begin - 1, self._points + BLOCK):
            if t >= end:
                return
            yield BLENDS.decode(payload)

    def first_t(self, series: Series) -> int | None:
        """How far back a series is remembered; None where it is not."""
        blends = self._series.get(series)
        return None if blends is None else blends.first_t

    def remembered(self, series: Series) -> list[bytes]:
        """All blends of a series that are remembered, in order of time, as they are on their topic."""
        return [payload for _, payload in self._after(series, -1)]

    def last_t(self, series: Series) -> int | None:
        """The time of a series' newest blend; None where there is none."""
        blends = self._series.get(series)
        return None if blends is None else blends.last_t

    def truths(self, series: Series, period: int, count: int = TRUTHS) -> list[float | None]:
        """The newest of a series, see `RecentTruths.on_grid`."""
        truths = self._truths.get(series)
        return [] if truths is None else truths.on_grid(period, count)

    def newest_alert(self, series: Series) -> Alert | None:
        """Of a series since this process runs."""
        return self._newest_alerts.get(series)

    def alerts(self) -> list[Alert]:
        """The newest LATEST_ALERTS since this process runs, the newest first."""
        return list(reversed(self._alerts))

    async def events(self, stream: str, key: str, after: int) -> AsyncGenerator[ServerSentEvent]:
        """Events of a series, of what came after time `after`, without end. Their ids are times, to go on from after a
        lost connection; alerts have none.

        Asking for a series makes none: whoever asks for what never comes costs no memory.
        """
        self._readers[stream, key] += 1
        try:
            async with aclosing(self._events(stream, key, after)) as events:
                async for event in events:
                    yield event
        finally:
            self._readers.subtract([(stream, key)])
            self._readers += Counter()  # forgets whom nobody reads

    async def _events(self, stream: str, key: str, after: int) -> AsyncGenerator[ServerSentEvent]:
        sent: deque[Alert] = deque(maxlen=LATEST_ALERTS)
        while True:
            news = self._news.setdefault((stream, key), asyncio.Event())
            for t, blend in self._after((stream, key), after):
                after = t
                yield ServerSentEvent(event="blend", raw_data=blend.decode(), id=str(t))
            for alert in [alert for alert in self._alerts if (alert.stream, alert.key) == (stream, key)]:
                if alert not in sent:
                    sent.append(alert)
                    yield ServerSentEvent(event="alert", raw_data=self._encoder.encode(alert).decode())
            await news.wait()

    def _after(self, series: Series, after: int) -> list[tuple[int, bytes]]:
        blends = self._series.get(series)
        return [] if blends is None else blends.after(after, self._points)
