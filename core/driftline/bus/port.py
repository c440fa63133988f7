"""The bus: topics of ordered partitions, workers that own partitions, checkpoints that make pure steps durable.

Three implementations, one contract suite: `driftline.bus.memory` (one process, nothing installed),
`driftline.bus.embedded` (one process, durable in a folder) and `driftline.bus.kafka`.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import msgspec

from driftline.messages import M, Topic

M_co = TypeVar("M_co", bound=msgspec.Struct, covariant=True)

ELSEWHERE = 1 << 62
"""The position of a checkpoint whose states come from another bus: the topic here is read from its beginning."""


Wanted = Callable[[int, str], bool]
"""Whether a state is to be read, by its partition and its name."""


def every_state(_partition: int, _name: str) -> bool:
    return True


def position_here(position: int | None) -> int:
    """Up to where a topic of this bus is worked off, by a checkpoint's position."""
    return 0 if position is None or position == ELSEWHERE else position


class Raw(msgspec.Struct, frozen=True, gc=False):
    """A message as it lies on a topic. `timestamp`: seconds since the epoch when it was produced."""

    partition: int
    offset: int
    timestamp: float
    payload: bytes


class Envelope(msgspec.Struct, Generic[M_co], frozen=True):
    """A decoded message with its place on the topic."""

    partition: int
    offset: int
    timestamp: float
    value: M_co


class Output(msgspec.Struct, frozen=True):
    """A message that a step puts out. It goes to the partition of the message that caused it, so order is kept."""

    partition: int
    topic: Topic[Any]
    message: msgspec.Struct


class Checkpoint(msgspec.Struct, frozen=True):
    """What a worker must find again after a crash: states that changed, what is answered, and where to read on."""

    partition: int
    position: int
    """Offset of the next input message to answer: the outputs of all before it are safe."""
    states: Mapping[str, bytes | None]
    """Per series ("stream/key") its whole state, opaque to the bus; None for a series that is forgotten."""
    outputs: Sequence[Output] = ()
    """Sent in the same transaction as the checkpoint; only with exactly-once delivery."""
    restart: int | None = None
    """Offset from which the input must be read again so that the states come to `position`, at most that; None where
    the states are those of `position` itself."""

    @property
    def reads_from(self) -> int:
        """Offset of the first message that the next owner reads."""
        return self.position if self.restart is None else self.restart


@dataclass(frozen=True)
class Assignment:
    """A partition that is ours from now on, and where reading begins."""

    @classmethod
    def of(cls, partition: int, position: int, restart: int, held: range) -> Self:
        """What follows from a checkpoint. held: the offsets that the topic has."""
        first = held.start
        if position == ELSEWHERE:
            return cls(partition, first, rewound=True, silent_until=first, moved=True)
        if position > held.stop:
            return cls(partition, first, rewound=True, silent_until=first)
        return cls(
            partition,
            max(first, restart),
            lost=max(0, first - position),
            silent_until=max(first, position),
            unlearned=max(0, min(first, position) - restart),
        )

    partition: int
    position: int
    """Offset of the first message that a poll will bring."""
    lost: int = 0
    """Messages behind the saved position that retention dropped before they were read."""
    rewound: bool = False
    """The saved position lay beyond the topic's end, which was made anew or cut: reading begins at its beginning."""
    silent_until: int = 0
    """The saved position: messages before it are answered already, and are read again for the states alone."""
    unlearned: int = 0
    """Messages before it that retention dropped: they are answered, but some states lack them."""
    moved: bool = False
    """It is rewound since its states come from another bus, as they should; see ELSEWHERE."""


@dataclass(frozen=True)
class Hole:
    """Offsets that no poll has brought, as the bus explains them."""

    lost: int
    """Messages that were dropped before they were read."""
    held: int | None
    """Offset of a message that is still there to be read, so that it was passed over; None where there is none."""


class Owner(Protocol):
    """Who is told which input partitions it owns: first `restore`, any number of times, then `assigned` from inside a
    poll, then polls bring its messages. So what a poll brought never meets a later assignment."""

    async def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        """Takes up a part of what was checkpointed; later parts win over earlier ones, None forgets a series."""

    def assigned(self, assignment: Assignment) -> None:
        """The partition is ours, former owners are fenced, and everything is restored."""

    async def revoked(self, partition: int) -> None:
        """The partition goes to somebody else, even if it was not restored yet: checkpoint it now; afterwards it is no
        longer ours."""


class Subscription(Protocol):
    """One worker's membership in a consumer group: messages in, outputs and checkpoints out."""

    async def poll(self, limit: int, timeout: float) -> Sequence[Raw]:
        """At most `limit` messages of the assigned partitions, in order within each and without a hole from the
        assignment's position on, but for what `hole` explains; waits at most `timeout` seconds. Raises BusUnavailable
        and Fenced."""

    def is_restoring(self) -> bool:
        """Whether partitions are ours of which no poll brings anything yet."""

    async def hole(self, partition: int, missing: range) -> Hole:
        """What became of the messages with these offsets. Raises BusUnavailable."""

    async def send(self, outputs: Sequence[Output]) -> None:
        """Returns when all are acknowledged. Raises BusUnavailable."""

    async def commit(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint atomically. Raises Fenced when somebody else owns the partition now, BusUnavailable."""


class Bus(Protocol):
    """Topics of a fixed number of partitions."""

    async def publish(self, topic: Topic[M], messages: Sequence[M]) -> None:
        """Appends, in order per key; returns when every one is acknowledged. Raises BusUnavailable."""

    def join(
        self, topic: Topic[Any], group: str, owner: Owner, *, gather: float = 0.0
    ) -> AbstractAsyncContextManager[Subscription]:
        """Enters the consumer group `group` on `topic`, whose checkpoints lie in the compacted topic
        `state_topic(group)`. Partitions are shared among all that joined; leaving gives them back.

        gather: how many seconds messages may lie until many of them are read at once. Reading each when it comes costs
        the broker and the reader a request a message, which only pays where somebody waits."""

    def tail(self, topic: Topic[M], *, earliest: bool = False) -> AsyncGenerator[Sequence[Envelope[M]]]:
        """Reads all partitions outside any group, from the start or from now on. Unreadable messages are skipped.

        The first page is empty: it says that nothing is missed any more. Raises BusUnavailable."""

    async def read(self, topic: Topic[M]) -> Sequence[Envelope[M]]:
        """All that lies on a small topic by now, partition by partition; makes it where it is missing. Unreadable
        messages are skipped. Raises BusUnavailable."""

    def states(
        self, topic: Topic[Any], group: str, wanted: Wanted = every_state
    ) -> AsyncGenerator[tuple[int, Mapping[str, bytes | None]]]:
        """The states that the group's checkpoints hold, by partition and in parts, outside the group: later parts win
        over earlier ones, None forgets a series. What is committed meanwhile may be in them. Raises BusUnavailable."""

    async def lag(self, topic: Topic[Any], group: str) -> Mapping[int, int]:
        """Per partition the messages from the position of the group's last checkpoint on. Raises BusUnavailable."""

    async def check(self) -> None:
        """Raises BusUnavailable while the bus can't be used."""

    async def close(self) -> None:
        """Gives connections back."""
