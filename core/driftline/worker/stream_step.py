"""What is computed per stream: the part of a step that knows what the messages mean. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from driftline.messages import Alert, Blend, Forecast, Record, Topic

Series = tuple[str, str]
"""A stream and a key."""
Timed = TypeVar("Timed", bound=Record | Forecast | Blend)
Timed_contra = TypeVar("Timed_contra", bound=Record | Forecast | Blend, contravariant=True)

Emission = tuple[Topic[Any], Forecast | Blend | Alert]
"""A message with the topic that it goes to."""


class Age(NamedTuple):
    """t: time of the newest message of a series. heard: see `driftline.worker.silence`; None where it was not saved."""

    t: int
    heard: int | None


class StreamStep(Protocol[Timed_contra]):
    """All series of one stream that are owned here."""

    ahead: int
    """Seconds by which a record may be ahead of the clock."""
    replaying: bool
    """Whether `work` gets messages that were answered before: then it counts nothing and judges no model."""

    @property
    def longest_silence(self) -> int:
        """Milliseconds of the stream's time after which a series is forgotten."""

    def work(self, messages: Sequence[Timed_contra]) -> Sequence[Sequence[Emission]]:
        """What each message causes, in their order. Times of a key rise strictly."""

    def lacks(self, message: Timed_contra) -> bool:
        """Whether its truth is missing."""

    def awaits(self, message: Timed_contra) -> bool:
        """Whether a message of that time came not long ago, and without the truth that this one brings, or whether
        none came of its period and later ones did."""

    def complete(self, message: Timed_contra) -> Sequence[Emission]:
        """What a truth or a whole message causes that was awaited."""

    def is_future(self, message: Timed_contra) -> bool:
        """Whether it says what is known of a time ahead, and is no message of its own time."""

    def foresee(self, message: Timed_contra) -> bool:
        """Takes a future in, and returns whether the series keeps it."""

    def last_t(self, key: str) -> int | None:
        """Time of the newest message of `key`, or None when there is no such series."""

    def group_of(self, key: str) -> str:
        """The group of a series that is known, "" where it has none. Series of a group may look at each other, so a
        state of one is of use with those of the others at the same offset alone."""

    def save(self, key: str, heard: int | None = None) -> bytes:
        """The whole state of a series. heard: when it was heard of last; see `driftline.worker.silence`."""

    def restore(self, key: str, data: bytes) -> Age:
        """Takes up what `save` gave; what an older definition saved is left behind and the series starts anew."""

    def forget(self, key: str) -> None:
        """Drops a series that somebody else owns now, or nobody any more. There need be none."""
