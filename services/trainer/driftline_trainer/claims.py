"""Which trainer works on which model: one at a time, and nobody learns from the same windows twice.

A claim holds as long as its holder is alive, and a holder says that it is in the store while it has work. Whoever has
heard it say so twice needs no clock to believe it, only to have heard it lately; clocks decide at the first look alone.
"""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from driftline.errors import Conflict, NotFound, TooLarge
from driftline.store.port import Store, read
from driftline.versions.files import MANIFEST_LIMIT

log = logging.getLogger(__name__)

PRESENCE_LIMIT = 1024
"""Bytes of a sign of life at most."""
CLAIM_LIMIT = MANIFEST_LIMIT
"""Bytes of a claim at most: like a manifest it names the newest window of every series."""
HOLDER = re.compile(r"[A-Za-z0-9._-]{1,300}")


class Presence(msgspec.Struct, frozen=True):
    """trainers/<holder>.json: until when others may count on a trainer. Seconds since the epoch."""

    until: float
    lease: float | None = None
    """Seconds within which it says so again."""


@dataclass(frozen=True)
class _Heard:
    """What a trainer said last. since: when that was heard, by the monotonic clock. again: whether it replaced what was
    heard before, so that the trainer lived then, whatever its clock shows."""

    body: bytes
    since: float
    again: bool


class Claim(msgspec.Struct, frozen=True):
    """claims/<stream>/<member>.json: who learns or has learned last, and from which windows."""

    holder: str
    windows: dict[str, str]
    done: bool


class Claims:
    """The claims of the trainer `holder`, which is believed to live for `lease` seconds after it said so."""

    def __init__(
        self,
        store: Store,
        holder: str,
        clock: Callable[[], float],
        lease: float,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """clock: seconds since the epoch, which may jump; ticks: seconds that never do."""
        self._store = store
        self._holder = holder
        self._clock = clock
        self._lease = lease
        self._ticks = ticks
        self._said = float("-inf")
        self._heard: dict[str, _Heard] = {}

    async def stay_alive(self) -> None:
        """Says that this trainer lives, when that was long ago. Raises StoreUnavailable."""
        now = self._ticks()
        # Three times a lease, so that one late or lost write costs nothing.
        if now - self._said > self._lease / 3:
            presence = Presence(self._clock() + self._lease, self._lease)
            await self._store.put(_presence_key(self._holder), msgspec.json.encode(presence))
            self._said = now

    async def alive(self, holder: str) -> bool:
        """Whether a trainer lives, as far as one can know. Raises StoreUnavailable."""
        if HOLDER.fullmatch(holder) is None:
            return False
        try:
            body = await read(self._store, _presence_key(holder), PRESENCE_LIMIT)
            presence = msgspec.json.decode(body, type=Presence)
        except (NotFound, TooLarge, msgspec.DecodeError, UnicodeDecodeError):
            return False
        heard = self._listen(holder, body)
        # Silent for a whole lease while this trainer listened: dead, whatever the other's clock promised.
        if self._ticks() - heard.since > (presence.lease or self._lease):
            return False
        # Heard more than once, it lives. At the first look it may have died long ago: only its clock can tell.
        return heard.again or presence.until > self._clock()

    def _listen(self, holder: str, body: bytes) -> _Heard:
        before = self._heard.get(holder)
        # Each sign of life has another `until`, so an equal body is no news.
        if before is None or before.body != body:
            self._heard[holder] = _Heard(body, self._ticks(), again=before is not None)
        return self._heard[holder]

    async def take(self, stream: str, member: str, windows: dict[str, str], *, again: bool) -> None:
        """Claims a model. again: also windows that were learned from already. Raises Conflict, StoreUnavailable."""
        key, claim = _claim_key(stream, member), msgspec.json.encode(Claim(self._holder, windows, done=False))
        # Before the claim: whoever reads a claim must find that its holder lives.
        await self.stay_alive()
        try:
            await self._store.put(key, claim, if_absent=True)
        except Conflict:
            try:
                await self._store.put(key, claim, if_match=await self._free(key, windows, again=again))
            except TooLarge as error:
                # No trainer wrote that, and nobody could ever replace it by its etag.
                log.warning("claim removed: %s", error)
                await self._store.delete(key)
                await self._store.put(key, claim, if_absent=True)

    async def _free(self, key: str, windows: dict[str, str], *, again: bool) -> str:
        """The etag of a claim that may be replaced."""
        stored = await self._store.get(key, limit=CLAIM_LIMIT)
        assert stored is not None, "only a conditional get may answer with nothing"  # noqa: S101
        try:
            other = msgspec.json.decode(stored.body, type=Claim)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return stored.etag
        if other.done and other.windows == windows and not again:
            raise Conflict(f"{other.holder} has learned from these windows already")
        # Its own unfinished claim is from before a restart, and is taken again.
        if not other.done and other.holder != self._holder and await self.alive(other.holder):
            raise Conflict(f"{other.holder} is at work on this model")
        return stored.etag

    async def finish(self, stream: str, member: str, windows: dict[str, str]) -> None:
        """Notes that the windows were learned from. Raises StoreUnavailable."""
        claim = Claim(self._holder, windows, done=True)
        await self._store.put(_claim_key(stream, member), msgspec.json.encode(claim))


def _presence_key(holder: str) -> str:
    return f"trainers/{holder}.json"


def _claim_key(stream: str, member: str) -> str:
    return f"claims/{stream}/{member}.json"
