"""A bus that several services use, and that none of them closes."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from driftline.bus.port import Bus, Envelope, Owner, Subscription, Wanted, every_state
from driftline.messages import M, Topic


class SharedBus:
    """See `driftline.bus.port.Bus`; whoever lends it closes it when all have ended."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def publish(self, topic: Topic[M], messages: Sequence[M]) -> None:
        await self._bus.publish(topic, messages)

    def join(
        self, topic: Topic[Any], group: str, owner: Owner, *, gather: float = 0.0
    ) -> AbstractAsyncContextManager[Subscription]:
        return self._bus.join(topic, group, owner, gather=gather)

    def tail(self, topic: Topic[M], *, earliest: bool = False) -> AsyncGenerator[Sequence[Envelope[M]]]:
        return self._bus.tail(topic, earliest=earliest)

    async def read(self, topic: Topic[M]) -> Sequence[Envelope[M]]:
        return await self._bus.read(topic)

    def states(
        self, topic: Topic[Any], group: str, wanted: Wanted = every_state
    ) -> AsyncGenerator[tuple[int, Mapping[str, bytes | None]]]:
        return self._bus.states(topic, group, wanted)

    async def lag(self, topic: Topic[Any], group: str) -> Mapping[int, int]:
        return await self._bus.lag(topic, group)

    async def check(self) -> None:
        await self._bus.check()

    async def close(self) -> None:
        """Others may still use it."""
