"""A sink: what takes blends or alerts in beyond the bus, such as a broker, a database or a chat."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

from driftline.errors import Unavailable
from driftline.messages import Topic

M_contra = TypeVar("M_contra", bound=msgspec.Struct, contravariant=True)


class SinkUnavailable(Unavailable):
    """The other side is away, or did not answer as it should: the same batch is sent again. wait: seconds before that,
    where the other side says so."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class SinkRefused(Unavailable):
    """The other side refuses everything until a person corrects something: the same batch is sent again until then.
    remedy: what to correct, as a sentence."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True)
class Unsendable:
    """A message that the other side will never take. index: in its batch."""

    index: int
    reason: str


class Sink(AbstractAsyncContextManager[Any], Protocol[M_contra]):
    """The other side. Entering begins what it does beside sending and raises nothing while the other side is away;
    leaving gives its connections back."""

    @property
    def topic(self) -> Topic[Any]:
        """What it takes: BLENDS or ALERTS."""

    @property
    def batch_limit(self) -> int:
        """Messages that it takes at once, at most."""

    async def send(self, batch: Sequence[M_contra]) -> Sequence[Unsendable]:
        """Returns when the other side has them safely, but for those that it will never take.

        A batch may come again, in whole or in part: what it writes must have the same name then. Raises SinkUnavailable
        and SinkRefused."""
