"""Reads the heartbeats and registrations in the store into the fleet's book. An event names a key; a poll does the
rest."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

from driftline.errors import InvalidInput, NotFound, RefusedNote, TooLarge
from driftline.fleet.names import HEARTBEATS, REGISTRATIONS, edge_of, heartbeat_key, registration_key
from driftline.fleet.notes import NOTE_LIMIT, opened, signed_by
from driftline.fleet.registration import Registration
from driftline.metrics import Metrics, from_zero
from driftline.models.signing import Trust, key_id
from driftline.store.hints import Keys
from driftline.store.port import Store, Stored
from driftline_trainer.fleet.book import FleetBook
from driftline_trainer.fleet.edge_record import received, refused, unchanged
from driftline_trainer.fleet.lies import LIES, RefusedHeartbeat, believed

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Requests to the store at once."""
REGISTRATIONS_S = 600.0
"""Seconds between two looks at all registrations: a signature by an unknown key has one looked at again at once."""


class FleetWatch:
    """trust: whose registrations are believed."""

    def __init__(
        self,
        store: Store,
        book: FleetBook,
        metrics: Metrics,
        trust: Trust,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._book = book
        self._trust = trust
        self._clock = clock
        self._refused = metrics.fleet_heartbeats_refused
        from_zero(self._refused, LIES)
        self._etags: dict[str, str] = {}
        self._registered: dict[str, str] = {}
        self._keys: dict[str, Trust | RefusedHeartbeat] = {}
        self._looked_at_registrations = False
        self._is_full = False
        self._reading = asyncio.Lock()

    async def reconcile(self, keys: Keys) -> None:
        """Reads the heartbeats under `keys` that have changed; None: under any. Raises StoreUnavailable."""
        # One at a time: a heartbeat that is read twice would look as if it had been put back.
        async with self._reading:
            if not self._looked_at_registrations:
                await self.reconcile_registrations(None)
            edges = {edge for key in keys if (edge := edge_of(key))} if keys is not None else await self._all()
            await _some_at_once(self._look_at, self._with_room(edges))

    async def reconcile_registrations(self, keys: Keys) -> None:
        """The same for registrations."""
        if keys is None:
            listed = [listed.key async for listed in self._store.list(REGISTRATIONS)]
            keys = frozenset(listed) | {registration_key(edge) for edge in self._keys}
        edges = {key.removeprefix(REGISTRATIONS).removesuffix(".json") for key in keys}
        await _some_at_once(self._look_at_registration, {edge for edge in edges if registration_key(edge) in keys})
        self._looked_at_registrations = True

    async def _all(self) -> set[str]:
        """The edges whose heartbeats are there; those whose heartbeats were taken out are forgotten."""
        edges = {edge async for listed in self._store.list(HEARTBEATS) if (edge := edge_of(listed.key))}
        for edge in self._etags.keys() - edges:
            self._forget(edge)
        return edges

    async def _look_at(self, edge: str) -> None:
        try:
            stored = await self._store.get(heartbeat_key(edge), unless=self._etags.get(edge), limit=NOTE_LIMIT)
        except NotFound:
            self._forget(edge)
        except TooLarge as error:
            self._refuse_once(edge, RefusedHeartbeat("size", str(error)))
        else:
            if stored is None:
                self._book.note(unchanged(self._book.record(edge), self._clock()))
            else:
                await self._take(edge, stored)

    async def _take(self, edge: str, stored: Stored) -> None:
        now = self._clock()
        try:
            heartbeat = believed(stored.body, edge, await self._trust_in(edge, stored.body))
            self._book.put(received(self._book.record(edge), heartbeat, now))
        except RefusedHeartbeat as lie:
            self._refuse(edge, lie)
        self._etags[edge] = stored.etag

    async def _trust_in(self, edge: str, body: bytes) -> Trust | None:
        """Whose signature the edge's heartbeats must bear; None where it is not registered. Raises RefusedHeartbeat."""
        if self._may_have_registered(edge, body):
            await self._look_at_registration(edge)
        trust = self._keys.get(edge)
        if isinstance(trust, RefusedHeartbeat):
            raise trust
        return trust

    def _may_have_registered(self, edge: str, body: bytes) -> bool:
        """Whether there may be another registration than the known one: of an edge that is heard for the first time, or
        one whose heartbeat another key has signed, such as the device that has replaced a revoked one."""
        registration = self._book.record(edge).registration
        if registration is None:
            return edge not in self._etags or edge in self._keys
        return signed_by(body) != key_id(registration.public_key)

    async def _look_at_registration(self, edge: str) -> None:
        key = registration_key(edge)
        try:
            stored = await self._store.get(key, unless=self._registered.get(edge), limit=NOTE_LIMIT)
            if stored is None:
                return
            self._registered[edge] = stored.etag
            registration = _registration(edge, stored.body, self._trust)
            self._keys[edge] = _trust_of(registration)
        except NotFound:
            self._registered.pop(edge, None)
            self._keys.pop(edge, None)
            self._book.register(edge, None)
        except InvalidInput as error:
            log.warning("%s is not believed: %s", key, error)
            self._keys[edge] = RefusedHeartbeat("registration", f"its registration is not believed: {error}")
        else:
            if edge in self._book or self._book.room:
                self._book.register(edge, registration)

    def _forget(self, edge: str) -> None:
        self._etags.pop(edge, None)
        self._book.unheard(edge)

    def _refuse(self, edge: str, lie: RefusedHeartbeat) -> None:
        self._refused.labels(lie.reason).inc()
        log.warning("a heartbeat of edge %s is not believed: %s: %s", edge, lie.reason, lie)
        self._book.put(refused(self._book.record(edge), lie, self._clock()))

    def _refuse_once(self, edge: str, lie: RefusedHeartbeat) -> None:
        """What is too large has no etag by which it would be known again."""
        refusal = self._book.record(edge).refusal
        if refusal is None or (refusal.kind, refusal.detail) != (lie.reason, str(lie)):
            self._refuse(edge, lie)

    def _with_room(self, edges: set[str]) -> set[str]:
        """Those that are known, and as many new ones as there is room for."""
        new = sorted(edge for edge in edges if edge not in self._book)
        left_out = new[self._book.room :]
        if left_out and not self._is_full:
            self._refused.labels("many").inc()
            log.warning("found %d edges more than there is room for: %s and so on", len(left_out), left_out[0])
        self._is_full = bool(left_out)
        return edges.difference(left_out)


def _registration(edge: str, body: bytes, trust: Trust) -> Registration:
    """Raises RefusedNote."""
    registration = opened(body, Registration, trust)
    if registration.edge != edge:
        raise RefusedNote(f"found a registration of edge {registration.edge!r}, expected one of {edge!r}")
    return registration


def _trust_of(registration: Registration) -> Trust | RefusedHeartbeat:
    """Raises InvalidInput for what is no key."""
    if registration.revoked is not None:
        return RefusedHeartbeat("revoked", "found a heartbeat of an edge that was shut out, expected none")
    return Trust([registration.public_key])


async def _some_at_once(look: Callable[[str], Awaitable[None]], edges: Iterable[str]) -> None:
    """All of them, AT_ONCE at a time. Raises what the first of them raised, when all have ended."""
    waiting = iter(sorted(edges))

    async def work() -> None:
        for edge in waiting:
            await look(edge)

    ends = await asyncio.gather(*(work() for _ in range(AT_ONCE)), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
