"""Writes this edge's heartbeat into the store; see `driftline.service.app.BackgroundJob`.

It only ever waits for itself: a store that hangs holds up the next heartbeat, and nothing else. What is written once
the store answers is what is true then.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from driftline.bus.edge import Edge
from driftline.bus.port import Bus
from driftline.errors import BusUnavailable, IdentityCopied, StoreUnavailable, Unstorable
from driftline.fleet.heartbeat import Comparison, Heartbeat, model_name
from driftline.fleet.notes import NOTE_LIMIT, packed, sealed
from driftline.messages import ALERTS, RECORDS, Alert
from driftline.metrics import Metrics
from driftline.names import INFERENCE_GROUP
from driftline.service.reports import GIVEN_UP_S, Reporter
from driftline.stoppable import StoppableWork
from driftline.store.hints import Hints
from driftline.store.port import Store, clock_offset
from driftline_inference.heartbeats import contents, machine
from driftline_inference.heartbeats.news import EdgeNews
from driftline_inference.heartbeats.rivals import Rivals
from driftline_inference.heartbeats.writer import HeartbeatWriter
from driftline_inference.registry.registry import Registry
from driftline_inference.step import ForecastStep

log = logging.getLogger(__name__)

SERVICE = "inference"
SETTLE_S = 1.0
"""News of one cause come together: so long the rest of them is waited for."""
AT_ONCE, WITHIN_S = 5, 50.0
"""Heartbeats at most that are written for news within so many seconds, however much there is to say."""
SEAL_BYTES = 1024
"""At most, around a note: the names of its parts, the key's name and the signature."""


@dataclass(frozen=True)
class EdgeIdentity:
    """What people call the edge, how they sort it, and who signs for it."""

    name: str
    labels: Mapping[str, str]
    key: machine.DeviceKey
    folder: Path
    """On the disk that its data lie on."""
    definitions: Path | None = None
    """Where the cloud's stream definitions are, of an edge that has them from there."""


@dataclass(frozen=True)
class HeartbeatSources:
    """What a heartbeat is made of. owns: whether this replica writes, None where that can't be known now."""

    edge: Edge
    registry: Registry
    stream_steps: Mapping[str, ForecastStep]
    owns: Callable[[], bool | None]
    bus: Bus
    store: Store
    metrics: Metrics


class HeartbeatJob:
    """every: seconds between two heartbeats. news: whoever has something to say at once adds a hint. reporter: that of
    this replica; its name is the boot, and it says on the bus that it runs before each heartbeat."""

    name = "heartbeats"

    def __init__(
        self,
        identity: EdgeIdentity,
        sources: HeartbeatSources,
        reporter: Reporter,
        news: Hints,
        *,
        every: float,
        settle: float = SETTLE_S,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.boot = reporter.replica
        self._identity = identity
        self._sources = sources
        self._reporter = reporter
        self._news = news
        self._every = every
        self._settle = settle
        self._unscheduled: deque[float] = deque(maxlen=AT_ONCE)
        """When the newest were written that were not due."""
        self._clock = clock
        self._monotonic = monotonic
        self._started = clock()
        self._number = 0
        self._rivals = Rivals(self.boot)
        self._new_rivals: list[str] = []
        self._heard = EdgeNews(sources.bus, news.wake, self._hear, monotonic)
        self._writer = HeartbeatWriter(sources.store, self._meet)
        self._writes = False
        self._trouble = ""
        self._beating = asyncio.Lock()
        self._work = StoppableWork()

    def rivals(self) -> list[str]:
        """Boots of others that write under this edge's id now."""
        return self._rivals.now(self._number)

    async def check(self) -> None:
        """Raises IdentityCopied while another device runs under this edge's id. See
        `driftline.service.app.ReadinessCheck`."""
        if rivals := self.rivals():
            raise IdentityCopied(_copied(self._sources.edge.known() or "", rivals))

    async def run(self) -> None:
        await self._work.run(self._run())

    async def stop(self) -> None:
        await self._work.stop()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._heard.read())
            group.create_task(self._beat_on())

    async def _beat_on(self) -> None:
        edge = await self._sources.edge.id()
        identity = self._identity
        self._sources.metrics.edge_info.labels(edge, identity.name).set(1)
        extra = {"edge": edge, "edge_name": identity.name, "labels": dict(identity.labels), "boot": self.boot}
        log.info("this edge", extra=extra)
        while True:
            began = self._monotonic()
            await self.beat()
            await self._until_next(began)

    async def _until_next(self, began: float) -> None:
        """Until the next one is due, or something is to be said at once. As long as nobody knows which replica writes,
        the next look is soon."""
        is_open = self._sources.owns() is None and not self._number
        due = began + (self._settle if is_open else self._every)
        try:
            async with asyncio.timeout(max(0.0, due - self._monotonic())):
                await self._news.come()
        except TimeoutError:
            return
        now = self._monotonic()
        is_full = len(self._unscheduled) == AT_ONCE
        pause = max(self._settle, self._unscheduled[0] + WITHIN_S - now if is_full else 0.0)
        self._unscheduled.append(now + pause)
        await asyncio.sleep(pause)

    async def beat(self) -> None:
        """Writes one heartbeat, if it is this replica that writes them and the edge has an id."""
        async with self._beating:
            await self._beat()

    async def _beat(self) -> None:
        self._news.take()
        edge = self._sources.edge.known()
        is_announced = await self._reporter.report()
        if edge is None or not self._is_mine():
            return
        self._number += 1
        lag = await self._lag()
        try:
            await self._take_up(edge)
            await self._writer.write(edge, lambda: self._compose(edge, lag))
        except (StoreUnavailable, Unstorable) as error:
            self._complain(str(error))
            return
        self._trouble = ""
        if is_announced:
            await self._warn_of_rivals(edge)

    def _is_mine(self) -> bool:
        """While nobody knows, whoever wrote them goes on: an edge without its bus is not silent."""
        owns = self._sources.owns()
        if owns is False and self._writes:
            self._writer.release()
        self._writes = self._writes if owns is None else owns
        return self._writes

    async def _take_up(self, edge: str) -> None:
        """The alerts from before a restart."""
        before = await self._writer.predecessor(edge)
        if before is not None and not self._heard.alerts:
            notes = (Alert(n.stream, n.key, n.t, n.kind, n.subject, n.detail) for n in before.alerts)
            self._heard.alerts.extend(notes)

    def _compose(self, edge: str, lag: int | None) -> bytes:
        heartbeat = contents.bounded(self._heartbeat(edge, lag), NOTE_LIMIT - SEAL_BYTES)
        return packed(sealed(heartbeat, self._identity.key.signer()))

    def _heartbeat(self, edge: str, lag: int | None) -> Heartbeat:
        free, total = machine.disk(self._identity.folder)
        reports = self._heard.reports()
        return Heartbeat(
            edge=edge,
            name=self._identity.name,
            labels=dict(self._identity.labels),
            boot=self.boot,
            number=self._number,
            started=round(self._started, 3),
            at=round(self._clock(), 3),
            every=self._every,
            software=version("driftline"),
            clock_offset=clock_offset(self._sources.store),
            disk_free=free,
            disk_total=total,
            memory=machine.resident(),
            lag=lag,
            waits_for=contents.waits_for(reports, self._heard.silent(self._every)),
            streams=contents.pooled(reports),
            models={
                model_name(*state.name): contents.model_health(state, self._comparisons(*state.name))
                for state in self._sources.registry.states()
            },
            alerts=contents.alert_notes(self._heard.alerts),
            gaps=contents.gaps(reports),
            waiting=sum(report.waiting for report in reports),
            definitions=machine.definitions(self._identity.definitions),
            rivals=self.rivals(),
        )

    def _comparisons(self, stream: str, member: str) -> list[Comparison]:
        return self._sources.stream_steps[stream].comparisons.of(member)

    async def _lag(self) -> int | None:
        try:
            async with asyncio.timeout(GIVEN_UP_S):
                return sum((await self._sources.bus.lag(RECORDS, INFERENCE_GROUP)).values())
        except (BusUnavailable, TimeoutError):
            return None

    def _hear(self, service: str, replica: str) -> None:
        if service == SERVICE:
            self._rivals.hear(replica)

    def _meet(self, other: Heartbeat) -> None:
        if self._rivals.meet(other.boot, other.number, self._number):
            self._new_rivals.append(other.boot)

    async def _warn_of_rivals(self, edge: str) -> None:
        rivals, self._new_rivals = self._new_rivals, []
        if not rivals:
            return
        detail = _copied(edge, rivals)
        log.error("%s", detail, extra={"edge": edge, "rivals": rivals})
        self._sources.metrics.alerts.labels("", "identity").inc()
        alert = Alert("", edge, int(self._clock() * 1000), "identity", rivals[-1], detail)
        try:
            await self._sources.bus.publish(ALERTS, [alert])
        except BusUnavailable as error:
            log.warning("no alert on the bus: %s", error)

    def _complain(self, trouble: str) -> None:
        if not self._trouble:
            log.warning("no heartbeat in the store: %s", trouble)
        self._trouble = trouble


def _copied(edge: str, rivals: list[str]) -> str:
    return (
        f"another device runs under this edge's id {edge} (boots {', '.join(rivals)}): its card or its data folder was "
        "copied; give one of them an id of its own"
    )
