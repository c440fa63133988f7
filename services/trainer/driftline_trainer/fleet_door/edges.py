"""The devices of the fleet, as their registrations in the store say: admitted by a credential, rotated, revoked."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from driftline.errors import Conflict, InvalidInput, NotAdmitted, NotFound, RefusedNote
from driftline.fleet.names import REGISTRATIONS, registration_key
from driftline.fleet.notes import NOTE_LIMIT, opened, sealed
from driftline.fleet.registration import (
    EDGE_ID,
    Registration,
    RotationRequest,
    read_bearer,
)
from driftline.models.signing import Signer, Trust
from driftline.store.port import Store
from driftline_trainer.fleet_door.allowance import Allowance

log = logging.getLogger(__name__)

FRESH_S = 3.0
"""For so long a registration is not looked at again: whoever is revoked is cut off so soon, at every trainer."""
STRANGERS = 20.0
"""Ids that are not known here which may be looked for in a second: each look costs a request to the store."""
KNOWN = 100_000
"""Registrations that are remembered at most."""
STRANGERS_REFUSED = "found too many credentials of devices that are not known here; try again later"
STRANGER = "expected the header `Authorization: Bearer CREDENTIAL` with the credential of a device of this fleet"


@dataclass(frozen=True)
class Known:
    """A registration as it was in the store when it was looked at; `seen` by a clock that never goes back."""

    registration: Registration
    etag: str
    seen: float


class Edges:
    """signer, trust: registrations are signed by the trainer, and believed if a trainer signed them."""

    def __init__(
        self,
        store: Store,
        signer: Signer | None,
        trust: Trust,
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._signer = signer
        self._trust = trust
        self._clock = clock
        self._ticks = ticks
        self._known: dict[str, Known] = {}
        self._strangers = Allowance(STRANGERS, ticks)
        self._rotating = asyncio.Lock()

    async def admitted(self, shown: str) -> Registration:
        """The device that shows this credential. Raises NotAdmitted, Unavailable."""
        read = read_bearer(shown)
        if read is None:
            raise NotAdmitted(STRANGER)
        edge, secret = read
        try:
            registration = await self.registration(edge)
        except NotFound:
            raise NotAdmitted(STRANGER) from None
        except RefusedNote as error:
            log.warning("a registration is passed over: %s", error, extra={"edge": edge})
            raise NotAdmitted(STRANGER) from None
        if not registration.admits(secret):
            revoked = registration.revoked is not None
            # Nothing of it to who does not know the secret.
            knew = revoked and msgspec.structs.replace(registration, revoked=None).admits(secret)
            raise NotAdmitted("this device was revoked; it needs a new join token" if knew else STRANGER)
        return await self._settle(registration, secret)

    async def registration(self, edge: str) -> Registration:
        """Of this id, FRESH_S old at most. Raises NotFound, RefusedNote, Unavailable."""
        known = self._known.get(edge)
        if known is not None and self._ticks() - known.seen < FRESH_S:
            return known.registration
        if known is None:
            self._strangers.take(STRANGERS_REFUSED)
        return (await self.look(edge)).registration

    async def look(self, edge: str) -> Known:
        """The registration as it is in the store now. Raises NotFound, StoreUnavailable, and RefusedNote for one that
        no trainer signed."""
        if not EDGE_ID.fullmatch(edge):
            raise NotFound(f"found no edge {edge[:64]!r} in the fleet")
        before, now = self._known.get(edge), self._ticks()
        try:
            stored = await self._store.get(
                registration_key(edge), unless=before.etag if before else None, limit=NOTE_LIMIT
            )
        except NotFound:
            self._known.pop(edge, None)
            raise NotFound(f"found no edge {edge!r} in the fleet") from None
        if stored is None and before is not None:
            return self._remember(Known(before.registration, before.etag, now))
        assert stored is not None, "only a conditional get may answer with nothing"  # noqa: S101
        registration = opened(stored.body, Registration, self._trust)
        if registration.edge != edge:
            raise RefusedNote(f"{registration_key(edge)}: found the registration of {registration.edge!r}")
        return self._remember(Known(registration, stored.etag, now))

    async def all(self) -> list[Registration]:
        """Every one that a trainer signed, by id. Raises StoreUnavailable."""
        registrations = []
        async for listed in self._store.list(REGISTRATIONS):
            edge = listed.key.removeprefix(REGISTRATIONS).removesuffix(".json")
            try:
                registrations.append((await self.look(edge)).registration)
            except (NotFound, InvalidInput) as error:
                log.warning("a registration is passed over: %s", error, extra={"key": listed.key})
        return registrations

    async def put(self, registration: Registration, before: Known | None) -> Registration:
        """Writes it in the place of the one `before`. Raises Conflict, StoreUnavailable."""
        etag = await self._store.put(
            registration_key(registration.edge),
            sealed(registration, self._signer),
            if_absent=before is None,
            if_match=before.etag if before else None,
        )
        return self._remember(Known(registration, etag, self._ticks())).registration

    async def revoke(self, edge: str) -> Registration:
        """Cuts a device off: here at once, elsewhere after FRESH_S. Raises NotFound, StoreUnavailable."""
        while True:
            known = await self.look(edge)
            if known.registration.revoked is not None:
                return known.registration
            try:
                revoked = await self.put(msgspec.structs.replace(known.registration, revoked=self._clock()), known)
            except Conflict:
                continue
            log.warning("an edge was revoked", extra={"edge": edge})
            return revoked

    async def rotate(self, edge: str, body: bytes) -> Registration:
        """Takes in the device's next credential. Raises NotFound, NotAdmitted, Conflict, StoreUnavailable."""
        async with self._rotating:
            known = await self.look(edge)
            asked = opened(body, RotationRequest, Trust([known.registration.public_key]))
            current = known.registration.credentials
            if asked.edge != edge or known.registration.revoked is not None:
                raise NotAdmitted(STRANGER)
            if current and asked.credential == current[-1].digest:
                return known.registration  # asked again, since the answer was lost
            if not current or asked.former != current[0].digest:
                raise Conflict("found another credential than the one in use as the former: it is an old request")
            return await self.put(known.registration.with_next(asked.credential, self._clock()), known)

    async def _settle(self, registration: Registration, secret: str) -> Registration:
        settled = registration.settled(secret)
        known = self._known.get(registration.edge)
        if settled is registration or known is None or known.registration is not registration:
            return registration
        try:
            return await self.put(settled, known)
        except Conflict:
            return registration  # another trainer did, and the next look shows it

    def _remember(self, known: Known) -> Known:
        if len(self._known) >= KNOWN and known.registration.edge not in self._known:
            self._known.pop(next(iter(self._known)))
        self._known[known.registration.edge] = known
        return known
