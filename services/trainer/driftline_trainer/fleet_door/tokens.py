"""Join tokens in the store: each admits one device, once. A token is shown to whoever made it, and never again."""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from driftline.errors import Conflict, InvalidInput, NotAdmitted, NotFound, RefusedNote
from driftline.fleet.names import JOIN_TOKENS, join_token_key
from driftline.fleet.notes import NOTE_LIMIT, opened, sealed
from driftline.fleet.registration import JoinToken, digest_of
from driftline.models.signing import Signer, Trust
from driftline.store.port import Store

log = logging.getLogger(__name__)

LONGEST_S = 30 * 86_400.0
"""For so long a token may be good."""
KEPT_S = 30 * 86_400.0
"""For so long after its end it is still listed."""
SHORTEST_ID = 8
UNKNOWN = "found a join token that nobody made, or that was deleted; expected one that is still good"


@dataclass(frozen=True)
class KnownToken:
    """A token as it was in the store."""

    token: JoinToken
    etag: str


class JoinTokens:
    """signer, trust: as for registrations."""

    def __init__(
        self, store: Store, signer: Signer | None, trust: Trust, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._signer = signer
        self._trust = trust
        self._clock = clock

    async def make(
        self,
        *,
        seconds: float,
        edge: str | None = None,
        replaces: bool = False,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> tuple[str, JoinToken]:
        """A new token and what the store keeps of it. Raises StoreUnavailable."""
        plain, now = secrets.token_urlsafe(32), self._clock()
        token = JoinToken(
            digest=digest_of(plain),
            created=now,
            expires=now + seconds,
            edge=edge,
            replaces=replaces,
            name=name,
            labels=dict(labels or {}),
        )
        await self._store.put(join_token_key(token.digest), sealed(token, self._signer), if_absent=True)
        return plain, token

    async def look(self, digest: str) -> KnownToken:
        """Raises NotAdmitted for a token that nobody made or that is over, StoreUnavailable."""
        try:
            stored = await self._store.get(join_token_key(digest), limit=NOTE_LIMIT)
            assert stored is not None, "only a conditional get may answer with nothing"  # noqa: S101
            token = opened(stored.body, JoinToken, self._trust)
        except NotFound:
            raise NotAdmitted(UNKNOWN) from None
        except RefusedNote as error:
            log.warning("a join token is passed over: %s", error)
            raise NotAdmitted(UNKNOWN) from None
        if token.digest != digest:
            raise NotAdmitted(UNKNOWN)
        if token.expires <= self._clock():
            raise NotAdmitted("found a join token whose time is over, expected one that is still good")
        return KnownToken(token, stored.etag)

    async def note(self, known: KnownToken, *, used_by: str | None, public_key: str | None) -> KnownToken:
        """Writes down which device it admits. Raises Conflict where another one did meanwhile, StoreUnavailable."""
        return await self._put(msgspec.structs.replace(known.token, used_by=used_by, public_key=public_key), known)

    async def spend(self, known: KnownToken) -> KnownToken:
        """Writes down that the device which it admits is registered. Raises Conflict, StoreUnavailable."""
        return await self._put(msgspec.structs.replace(known.token, spent=True), known)

    async def _put(self, token: JoinToken, known: KnownToken) -> KnownToken:
        key = join_token_key(token.digest)
        return KnownToken(token, await self._store.put(key, sealed(token, self._signer), if_match=known.etag))

    async def all(self) -> list[JoinToken]:
        """Those that were made, the newest first; what is long over is deleted. Raises StoreUnavailable."""
        tokens = []
        async for listed in self._store.list(JOIN_TOKENS):
            try:
                stored = await self._store.get(listed.key, limit=NOTE_LIMIT)
                assert stored is not None, "only a conditional get may answer with nothing"  # noqa: S101
                token = opened(stored.body, JoinToken, self._trust)
            except (NotFound, InvalidInput):
                continue
            if token.expires + KEPT_S < self._clock():
                await self._store.delete(listed.key)
            else:
                tokens.append(token)
        return sorted(tokens, key=lambda token: -token.created)

    async def delete(self, token_id: str) -> None:
        """Takes back the one token whose digest begins so. Raises NotFound, Conflict, StoreUnavailable."""
        if len(token_id) < SHORTEST_ID or not all(letter in "0123456789abcdef" for letter in token_id):
            raise NotFound(f"found no join token {token_id[:64]!r}")
        keys = [listed.key async for listed in self._store.list(JOIN_TOKENS + token_id)]
        if not keys:
            raise NotFound(f"found no join token {token_id!r}")
        if len(keys) > 1:
            raise Conflict(f"found {len(keys)} join tokens that begin with {token_id!r}, expected one")
        await self._store.delete(keys[0])
