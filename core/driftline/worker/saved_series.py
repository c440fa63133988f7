"""How the saved states of one stream's series are taken up; what can't be is left behind. Pure."""

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from driftline.streams.grid import NEVER
from driftline.worker import slots
from driftline.worker.parts import Axes, Body, Parts, SavedState, UnreadableState, checked, decoded
from driftline.worker.series_store import SeriesStore
from driftline.worker.stream_step import Age


class Former(Protocol):
    """A state of release 0.1.0."""

    @property
    def t(self) -> int: ...

    @property
    def heard(self) -> int | None: ...


F = TypeVar("F", bound=Former)
T = TypeVar("T", bound=tuple[Any, ...])


class Forms(Generic[F, T]):
    """The forms of the states that a step reads: today's, which has a version and a definition, and that of release
    0.1.0.

    decode_former: raises msgspec.DecodeError. migrate: gives the tables of one slot, and raises UnreadableState.
    settle: see the `state` of a service.
    """

    def __init__(
        self,
        version: int,
        definition: str,
        *,
        decode_former: Callable[[bytes], F],
        migrate: Callable[[F], T],
        settle: Callable[[T, Axes, Axes], None],
    ) -> None:
        self.version, self.definition = version, definition
        self.migrate, self.settle = migrate, settle
        self._decode_former = decode_former

    def decode(self, data: bytes) -> SavedState | F:
        """Raises UnreadableState."""
        saved = decoded(data)
        if saved is not None:
            return saved
        try:
            return self._decode_former(data)
        except msgspec.DecodeError as error:
            raise UnreadableState(str(error)) from error


class SavedSeries(Generic[F, T]):
    """Puts saved states into a store.

    slot: gives a series its row of the store. blank: makes the tables of so many new series. forget: drops a series,
    of which there need be none. left_behind: gets the key and the reason of a state that can't be taken up: its series
    begins again.
    """

    def __init__(
        self,
        forms: Forms[F, T],
        parts: Parts,
        store: SeriesStore[T],
        *,
        slot: Callable[[str], int],
        blank: Callable[[int], T],
        forget: Callable[[str], None],
        left_behind: Callable[[str, str], None],
    ) -> None:
        self._forms = forms
        self._parts = parts
        self._store = store
        self._slot = slot
        self._blank = blank
        self._forget = forget
        self._left_behind = left_behind

    def restore(self, key: str, data: bytes, more: Callable[[str, Body | F], None]) -> Age:
        """Takes a state up. more: takes up what of it is in no array, and may raise UnreadableState."""
        try:
            saved = self._forms.decode(data)
        except UnreadableState as error:
            self._leave(key, error)
            return Age(NEVER, None)
        try:
            more(key, self._load(key, saved))
        except UnreadableState as error:
            self._leave(key, error)
        else:
            self._store.advance([(key, saved.t)])
        return Age(saved.t, saved.heard)

    def _leave(self, key: str, error: UnreadableState) -> None:
        # A part before the one that does not fit may have fitted.
        self._forget(key)
        self._left_behind(key, str(error))

    def _load(self, key: str, saved: SavedState | F) -> Body | F:
        """Raises UnreadableState."""
        if not isinstance(saved, SavedState):
            self._put(key, self._forms.migrate(saved))
            return saved
        body = checked(saved, self._forms.version, self._forms.definition)
        if not self._parts.load(body, self._slot(key)):
            blank = self._blank(1)
            self._forms.settle(blank, self._parts.move(body, blank), self._parts.axes)
            self._put(key, blank)
        return body

    def _put(self, key: str, state: T) -> None:
        slot = self._slot(key)
        for table, row in zip(self._store.tables, state, strict=True):
            slots.reset(table, slot, row)
