"""When the series of one stream were heard of last, by the stream's own time, so that silent ones can be forgotten.

The stream's time is the newest that any of its records had so far, on one partition. It is no clock: the same records
in the same order forget the same series, whenever they are worked off. Pure.
"""

from collections import OrderedDict
from collections.abc import Iterator

BEGINNING = 0
"""Before every record."""


class Heard:
    """The series of one stream on one partition. Times are milliseconds since the epoch.

    A series whose records are older than others' is as alive as they are: what counts is the stream's time when it
    came, not its own. So a history may be sent key by key.
    """

    def __init__(self) -> None:
        self._newest = BEGINNING
        # In the order in which they were heard of, so that the silent ones come first.
        self._at: OrderedDict[str, int] = OrderedDict()
        self._undated: set[str] = set()
        self._restored = False

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, key: str) -> bool:
        return key in self._at

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def at(self, key: str) -> int:
        """The stream's time when the series was heard of last."""
        self._settle()
        return self._at[key]

    @property
    def newest(self) -> int:
        """The stream's time."""
        return self._newest

    def set_back(self, t: int) -> None:
        """The stream's time is `t` again: what came after it is read once more."""
        self._newest = t

    def advance(self, t: int) -> None:
        """A record of time `t` has come."""
        self._newest = max(self._newest, t)

    def hear(self, key: str, t: int) -> None:
        """It was a record of this series."""
        self.advance(t)
        self._settle()
        self._at[key] = self._newest
        self._at.move_to_end(key)

    def restore(self, key: str, at: int | None) -> None:
        """Takes up what `at` gave; None where it was not kept: then the series is as alive as the next that is heard
        of. Its own newest record does not count: in what was kept before, that may be of a time that can't be."""
        self._restored = True
        self._newest = max(self._newest, at or BEGINNING)
        self._at[key] = BEGINNING if at is None else at
        (self._undated.discard if at is not None else self._undated.add)(key)

    def forget(self, key: str) -> None:
        self._at.pop(key, None)
        self._undated.discard(key)

    def is_silent(self, key: str, t: int, longest: int) -> bool:
        """Whether the series is silent for more than `longest` when a record of time `t` has come."""
        at = self._at.get(key)
        return at is not None and key not in self._undated and max(self._newest, t) - at > longest

    def first_silent(self, longest: int) -> str | None:
        """The series that is silent longest, if that is more than `longest`."""
        self._settle()
        first = next(iter(self._at), None)
        return first if first is not None and self._newest - self._at[first] > longest else None

    def _settle(self) -> None:
        """Brings restored series into their order, once all of them are there."""
        if not self._restored:
            return
        for key in self._undated:
            self._at[key] = self._newest
        self._undated.clear()
        self._at = OrderedDict(sorted(self._at.items(), key=lambda item: item[1]))
        self._restored = False
