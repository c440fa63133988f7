"""How a device becomes one of the fleet: it shows a token that is good once, and signs with the key that it will have.

Sent again by the same device it answers the same, whatever was lost on the way, and writes nothing twice. Sent again
after that device has gone on, such as to another credential, it is refused: somebody may have recorded it.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from driftline.bus.edge import new_id
from driftline.errors import Conflict, InvalidInput, NotAllowed, NotFound, RefusedNote
from driftline.fleet.labels import LABELS_LIMIT
from driftline.fleet.notes import opened
from driftline.fleet.registration import Credential, JoinRequest, JoinToken, Registration, digest_of
from driftline.models.signing import Trust
from driftline_trainer.fleet_door.edges import Edges, Known
from driftline_trainer.fleet_door.tokens import JoinTokens, KnownToken

log = logging.getLogger(__name__)


class Joining:
    """Admits new devices."""

    def __init__(self, edges: Edges, tokens: JoinTokens, clock: Callable[[], float] = time.time) -> None:
        self._edges = edges
        self._tokens = tokens
        self._clock = clock

    async def join(self, plain: str, body: bytes) -> Registration:
        """plain: the token; body: a signed JoinRequest. Raises NotAdmitted, NotAllowed, Conflict, RefusedNote,
        StoreUnavailable."""
        digest = digest_of(plain)
        known = await self._tokens.look(digest)
        asked = _read(body)
        if asked.token != digest:
            raise RefusedNote("found a request that was signed for another join token")
        # A device that races with others for one token, or one that asks twice at once, finds out and looks again.
        while True:
            try:
                return await self._join(known, asked)
            except _OvertakenError:
                known = await self._tokens.look(digest)

    async def _join(self, known: KnownToken, asked: JoinRequest) -> Registration:
        token = known.token
        if token.used_by is not None and token.public_key != asked.public_key:
            raise Conflict("found a join token that another device has used already; each admits one device")
        edge = token.used_by or _id_of(token, asked)
        _check_labels(token, asked)
        before = await self._present(edge)
        if token.spent and (before is None or not _is_current(before, asked)):
            raise Conflict("found a join token that was used already; each admits one device, once")
        if before is not None and not _is_asked_again(before, asked):
            _check_place(before, token)
        if token.used_by is None:
            try:
                known = await self._tokens.note(known, used_by=edge, public_key=asked.public_key)
            except Conflict as error:
                raise _OvertakenError from error
        registration = await self._register(edge, before, known, asked)
        if not known.token.spent:
            # After the registration: in a crash between both the device asks again.
            with suppress(Conflict):
                await self._tokens.spend(known)
        return registration

    async def _present(self, edge: str) -> Known | None:
        try:
            return await self._edges.look(edge)
        except NotFound:
            return None

    async def _register(self, edge: str, before: Known | None, known: KnownToken, asked: JoinRequest) -> Registration:
        credential = Credential(asked.credential, self._clock())
        if before is not None and _is_asked_again(before, asked):
            registration = before.registration
            if registration.revoked is not None:
                raise NotAllowed(
                    f"found edge {edge} revoked; a device that was revoked needs a new key and a new token"
                )
            if registration.credentials[-1].digest == asked.credential:
                return registration
            return await self._edges.put(msgspec.structs.replace(registration, credentials=[credential]), before)
        registration = Registration(
            edge=edge,
            name=known.token.name or asked.name,
            public_key=asked.public_key,
            labels=_labels(known.token, asked),
            joined=self._clock(),
            credentials=[credential],
        )
        try:
            await self._edges.put(registration, before)
        except Conflict as error:
            await self._give_back(edge, known, asked)
            raise _OvertakenError from error
        log.info("an edge has joined the fleet", extra={"edge": edge, "edge_name": registration.name})
        return registration

    async def _give_back(self, edge: str, known: KnownToken, asked: JoinRequest) -> None:
        """Somebody has registered under that id in this very moment. Unless it was this device, which has asked twice
        at once, the token is good for the next try."""
        present = await self._present(edge)
        if present is not None and _is_asked_again(present, asked):
            return
        with suppress(Conflict):
            await self._tokens.note(known, used_by=None, public_key=None)


class _OvertakenError(Exception):
    """Another request changed the same token or registration meanwhile."""


def _read(body: bytes) -> JoinRequest:
    """The request, if whoever has the other half of its key signed it. Raises RefusedNote."""
    asked = opened(body, JoinRequest, None)
    try:
        trust = Trust([asked.public_key])
    except InvalidInput as error:
        raise RefusedNote(str(error)) from error
    return opened(body, JoinRequest, trust)


def _id_of(token: JoinToken, asked: JoinRequest) -> str:
    if token.edge is not None and asked.edge not in {None, token.edge}:
        raise NotAllowed(f"found edge {asked.edge}, expected {token.edge}: the join token is for that one alone")
    return token.edge or asked.edge or new_id()


def _labels(token: JoinToken, asked: JoinRequest) -> dict[str, str]:
    """Those of the token count for more."""
    return {**asked.labels, **token.labels}


def _check_labels(token: JoinToken, asked: JoinRequest) -> None:
    """Raises RefusedNote before the token is used up."""
    if (count := len(_labels(token, asked))) > LABELS_LIMIT:
        raise RefusedNote(f"found {count} labels of the token and the device together, expected at most {LABELS_LIMIT}")


def _is_asked_again(before: Known, asked: JoinRequest) -> bool:
    return before.registration.public_key == asked.public_key


def _is_current(before: Known, asked: JoinRequest) -> bool:
    """Whether nothing has changed since this was asked first."""
    digests = [credential.digest for credential in before.registration.credentials]
    return _is_asked_again(before, asked) and digests == [asked.credential]


def _check_place(before: Known, token: JoinToken) -> None:
    """Raises NotAllowed where another device has the id, and the token is not for replacing it."""
    edge = before.registration.edge
    if not (token.replaces and token.edge == edge):
        raise NotAllowed(f"found edge {edge} in the fleet already, with another key; expected an id that is free")
