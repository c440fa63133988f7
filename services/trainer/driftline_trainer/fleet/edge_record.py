"""What the cloud knows of one edge: a value that each look at its heartbeat turns into the next. Pure.

When an edge was heard is known from its heartbeat's own time, but only as far as that fits to when the object was seen
to change: between the look that found it as before and the one that found it new.
"""

from dataclasses import dataclass, replace
from typing import Literal

from driftline.clock import EARLIEST_S
from driftline.fleet.heartbeat import Heartbeat
from driftline.fleet.registration import Registration
from driftline_trainer.fleet.lies import Lie, RefusedHeartbeat
from driftline_trainer.fleet.states import EVERY_S, EdgeState, state_of

BOOTS = 8
"""Turns of boots that are remembered."""
POINTS = 60
"""Heartbeats whose figures are remembered."""
HAPPENED = 30
"""Events that are remembered."""
RETURNS = 3
"""Returns of boots, within CLONE_S, from which on an id counts as cloned. Fewer come about without a copy: the last
heartbeat before a restart may arrive after the first one after it, and two replicas may take over from each other."""
CLONE_S = 3600.0
ASTRAY_S = 60.0
"""Seconds by which a heartbeat's time may be off without a word."""

Kind = Literal[Lie, "clock", "cloned", "waits", "gap", "rolled_back", "not_heard"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something about an edge that a person should know. since: seconds since the epoch, where it is known."""

    kind: Kind
    detail: str
    since: float | None = None


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """What one heartbeat said. at: seconds since the epoch when it was heard; skill: the mean over streams."""

    at: float
    scored: int
    skill: float | None
    lag: int | None


@dataclass(frozen=True, slots=True)
class EdgeEvent:
    """Something that changed between two heartbeats."""

    at: float
    kind: Literal["boot", "software", "swap", "rollback", "back", "return"]
    detail: str


@dataclass(frozen=True, slots=True)
class EdgeRecord:
    """heartbeat: the newest believable one. last: when it was heard, and looked: when its object was looked at last,
    both in seconds since the epoch. boots: the newest last, each with the largest number of its heartbeats. returns:
    when a boot wrote again after another one, the newest RETURNS."""

    edge: str
    heartbeat: Heartbeat | None = None
    registration: Registration | None = None
    first: float | None = None
    last: float | None = None
    looked: float | None = None
    live_since: float | None = None
    clock_offset: float | None = None
    boots: tuple[tuple[str, int], ...] = ()
    returns: tuple[float, ...] = ()
    refusal: Trouble | None = None
    history: tuple[HistoryPoint, ...] = ()
    events: tuple[EdgeEvent, ...] = ()

    @property
    def name(self) -> str:
        """What people call it."""
        if self.heartbeat is not None:
            return self.heartbeat.name
        return self.registration.name if self.registration is not None else self.edge

    @property
    def is_revoked(self) -> bool:
        """Whether the device was cut off: what it said before counts no more."""
        return self.registration is not None and self.registration.revoked is not None

    @property
    def labels(self) -> dict[str, str]:
        """As it says, and as it was registered with."""
        registered = self.registration.labels if self.registration is not None else {}
        return registered | (self.heartbeat.labels if self.heartbeat is not None else {})

    @property
    def every(self) -> float:
        return self.heartbeat.every if self.heartbeat is not None else EVERY_S

    def state(self, now: float) -> EdgeState:
        return state_of(self.last, self.every, now)

    def since(self, now: float) -> float | None:
        """When its state began, in seconds since the epoch: silent since it was heard last."""
        if self.state(now) == "live":
            return self.live_since
        if self.last is None and self.registration is not None:
            return self.registration.joined
        return self.last

    def is_cloned(self, now: float) -> bool:
        """Whether two devices write under this id: seen here, or by one of them."""
        turned = len(self.returns) == RETURNS and now - self.returns[0] <= CLONE_S
        return turned or bool(self.heartbeat is not None and self.heartbeat.rivals)


def received(record: EdgeRecord, heartbeat: Heartbeat, now: float) -> EdgeRecord:
    """After a heartbeat that is another one than at the last look. Raises RefusedHeartbeat ("order") for one that is
    older than what its boot has said already."""
    turns = _turned(record.boots, heartbeat)
    last, offset = _heard(record, heartbeat, now)
    is_back = _is_back(record.boots, heartbeat.boot)
    was_live = record.last is not None and record.state(last) == "live"
    point = HistoryPoint(last, sum(s.scored for s in heartbeat.streams.values()), skill_of(heartbeat), heartbeat.lag)
    return replace(
        record,
        heartbeat=heartbeat,
        first=record.first if record.first is not None else now,
        last=last,
        looked=now,
        live_since=record.live_since if was_live else _began(record, heartbeat, last),
        clock_offset=heartbeat.clock_offset if heartbeat.clock_offset is not None else offset,
        boots=turns,
        returns=(*record.returns, now)[-RETURNS:] if is_back else record.returns,
        refusal=None,
        history=(*record.history, point)[-POINTS:],
        events=(*record.events, *_events(record, heartbeat, last, is_back=is_back))[-HAPPENED:],
    )


def unchanged(record: EdgeRecord, now: float) -> EdgeRecord:
    """After a look that found the object as before."""
    return replace(record, looked=now)


def refused(record: EdgeRecord, lie: RefusedHeartbeat, now: float) -> EdgeRecord:
    """After a heartbeat that is not believed; what was believed before stays, and grows old."""
    first = record.first if record.first is not None else now
    return replace(record, first=first, looked=now, refusal=Trouble(lie.reason, str(lie), now))


def troubles(record: EdgeRecord, now: float) -> list[Trouble]:
    """All that is wrong with an edge, what matters most first."""
    wrong: list[Trouble] = []
    beat = record.heartbeat
    if record.is_cloned(now):
        boots = {boot for boot, _ in record.boots} | set(beat.rivals if beat is not None else ())
        since = record.returns[0] if record.returns else None
        wrong.append(Trouble("cloned", f"{len(boots)} devices write under this id: a card was copied", since))
    if record.refusal is not None:
        wrong.append(record.refusal)
    elif record.registration is not None and record.registration.revoked is not None:
        wrong.append(Trouble("revoked", "it was shut out", record.registration.revoked))
    if beat is None:
        return wrong or [Trouble("not_heard", "it has left no heartbeat yet")]
    if record.clock_offset is not None and abs(record.clock_offset) > ASTRAY_S:
        wrong.append(Trouble("clock", f"its clock is {shown_offset(record.clock_offset)}"))
    for name, versions in beat.models.items():
        wrong += [Trouble("rolled_back", f"{name} {version}: {why}") for version, why in versions.rolled_back.items()]
    wrong += [Trouble("waits", f"{name}: {why}") for name, why in beat.waits_for.items()]
    wrong += [
        Trouble("gap", f"{gap.stream}: {gap.count} {gap.what} were dropped", gap.since / 1000) for gap in beat.gaps
    ]
    return wrong


def skill_of(heartbeat: Heartbeat) -> float | None:
    """The mean over streams of each one's mean over horizons; None where none is known."""
    means = [mean(stream.skill) for stream in heartbeat.streams.values()]
    known = [value for value in means if value is not None]
    return sum(known) / len(known) if known else None


def mean(by_horizon: dict[str, float]) -> float | None:
    return sum(by_horizon.values()) / len(by_horizon) if by_horizon else None


def shown_offset(seconds: float) -> str:
    """By how much a clock is wrong, in words."""
    amount, side = abs(seconds), "ahead" if seconds > 0 else "behind"
    for size, unit in ((365.25 * 86_400, "years"), (86_400, "days"), (3600, "hours"), (60, "minutes")):
        if amount >= 2 * size:
            return f"{amount / size:.0f} {unit} {side}"
    return f"{amount:.0f} seconds {side}"


def _turned(boots: tuple[tuple[str, int], ...], heartbeat: Heartbeat) -> tuple[tuple[str, int], ...]:
    """The boots after this heartbeat. A boot that writes again after another one has a second turn."""
    known = max((number for boot, number in boots if boot == heartbeat.boot), default=0)
    if heartbeat.number <= known:
        raise RefusedHeartbeat(
            "order", f"found heartbeat {heartbeat.number} of boot {heartbeat.boot}, expected one after {known}"
        )
    if boots and boots[-1][0] == heartbeat.boot:
        return (*boots[:-1], (heartbeat.boot, heartbeat.number))
    return (*boots, (heartbeat.boot, heartbeat.number))[-BOOTS:]


def _is_back(boots: tuple[tuple[str, int], ...], boot: str) -> bool:
    """Whether it wrote before the boot that wrote last: a boot that has ended does not come back."""
    return bool(boots) and boots[-1][0] != boot and any(known == boot for known, _ in boots)


def _heard(record: EdgeRecord, heartbeat: Heartbeat, now: float) -> tuple[float, float | None]:
    """When it was written, and by how many seconds its clock is wrong, where that is so."""
    earliest = record.looked if record.looked is not None else EARLIEST_S
    if earliest - ASTRAY_S <= heartbeat.at <= now + ASTRAY_S:
        return min(max(heartbeat.at, earliest), now), None
    return now, heartbeat.at - now


def _began(record: EdgeRecord, heartbeat: Heartbeat, last: float) -> float:
    """Since when it is live: for an edge that this trainer has not seen before, its own start."""
    if record.last is None and EARLIEST_S <= heartbeat.started <= last:
        return heartbeat.started
    return last


def _events(record: EdgeRecord, new: Heartbeat, at: float, *, is_back: bool) -> list[EdgeEvent]:
    old = record.heartbeat
    if old is None:
        return []
    events: list[EdgeEvent] = []
    if record.last is not None and record.state(at) == "silent":
        events.append(EdgeEvent(at, "back", f"heard again after {at - record.last:.0f} s"))
    if is_back:
        events.append(EdgeEvent(at, "return", f"boot {new.boot} writes again after boot {old.boot}"))
    elif new.boot != old.boot:
        events.append(EdgeEvent(at, "boot", "started again"))
    if new.software != old.software:
        events.append(EdgeEvent(at, "software", f"{old.software} → {new.software}"))
    for name, model in new.models.items():
        former = old.models.get(name)
        if former is not None and former.version != model.version:
            events.append(EdgeEvent(at, "swap", f"{name}: {former.version or 'none'} → {model.version or 'none'}"))
        for version, why in model.rolled_back.items():
            if former is None or version not in former.rolled_back:
                events.append(EdgeEvent(at, "rollback", f"{name} {version}: {why}"))
    return events
