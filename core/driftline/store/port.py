"""The object store: immutable objects, conditional puts, and hints that something changed.

Two implementations, one contract suite: `driftline.store.folder` and `driftline.store.s3`.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from driftline.store.hints import Keys


@dataclass(frozen=True, slots=True)
class Stored:
    """An object's body with the etag that names exactly this content."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing shows it. `size` in bytes."""

    key: str
    size: int


class Store(Protocol):
    """Objects under keys like `models/<stream>/<member>/current.json`. Every call may raise StoreUnavailable."""

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        """The object, or None while its etag still equals `unless`. Raises NotFound, and TooLarge when the object has
        more than `limit` bytes: then it is not fetched."""

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Writes whole or not at all and returns the new etag. Raises Conflict when `if_absent` finds an object, or
        when the object's etag is not `if_match`, and Unstorable for what it will never take."""

    async def delete(self, key: str) -> None:
        """Removes the object; nothing happens when there is none."""

    def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        """All objects whose key begins with `prefix` and sorts after `after`, in key order, fetched page by page."""

    def watch(self, prefix: str, *, suffix: str = "", poll: float) -> AsyncGenerator[Keys]:
        """Wakes its reader: at once, after every event of a key between `prefix` and `suffix`, and at least every
        `poll` seconds. Gives the keys that may have changed, or None when that may be any.

        An event is a hint: it may be lost, repeated, late or wrong, so the reader looks at the store itself. Hints
        that come while the reader is busy are merged into one. While the store is away, only the poll wakes.
        """

    async def check(self) -> None:
        """Raises StoreUnavailable while the store can't be used."""

    async def close(self) -> None:
        """Gives connections back."""


@runtime_checkable
class TellsTime(Protocol):
    """A store whose answers say when they were made."""

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which this machine's clock is ahead of the store's; None as long as nothing is known of it."""


def clock_offset(store: object) -> float | None:
    """The same of any store: None where it does not say its time."""
    return store.clock_offset if isinstance(store, TellsTime) else None


async def read(store: Store, key: str, limit: int) -> bytes:
    """An object's body, of `limit` bytes at most. Raises NotFound, TooLarge, StoreUnavailable."""
    stored = await store.get(key, limit=limit)
    assert stored is not None, "only a conditional get may answer with nothing"  # noqa: S101
    return stored.body
