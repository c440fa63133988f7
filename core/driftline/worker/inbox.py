"""What a worker has read, as messages; those that can't be used go to the topic of dead letters."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic

from driftline.bus.port import Bus, Envelope, Raw
from driftline.errors import PoisonMessage
from driftline.messages import DEAD_LETTERS, DeadLetter, M, Topic
from driftline.worker.dead_letters import DeadLetterGauge
from driftline.worker.observer import Observer

log = logging.getLogger(__name__)

REASON_LENGTH = 500


class Inbox(Generic[M]):
    """Decodes the messages of a topic for the group `group`.

    refuse: why a decoded message can't be used, or None. wait_for: awaited before a message is refused, since what it
    lacks may be about to come.
    """

    def __init__(
        self,
        group: str,
        bus: Bus,
        topic: Topic[M],
        gauge: DeadLetterGauge,
        observer: Observer,
        refuse: Callable[[M], str | None],
        wait_for: Callable[[M], Awaitable[None]],
    ) -> None:
        self._group = group
        self._bus = bus
        self._topic = topic
        self._gauge = gauge
        self._observer = observer
        self._refuse = refuse
        self._wait_for = wait_for

    async def decode(self, batch: Sequence[Raw]) -> tuple[list[Envelope[M]], list[tuple[Raw, str]]]:
        """The messages that can be used, and the others with the reason."""
        envelopes: list[Envelope[M]] = []
        refused: list[tuple[Raw, str]] = []
        for raw in batch:
            try:
                message = self._topic.decode(raw.payload)
                reason = self._refuse(message)
                if reason is not None:
                    # Then it is judged again: its stream may be known by now.
                    await self._wait_for(message)
                    reason = self._refuse(message)
            except PoisonMessage as error:
                reason = str(error)
            if reason is None:
                envelopes.append(Envelope(raw.partition, raw.offset, raw.timestamp, message))
            else:
                refused.append((raw, reason))
        return envelopes, refused

    async def take(self, batch: Sequence[Raw]) -> list[Envelope[M]]:
        """The messages that can be used; the others are published as dead letters. Raises TooManyDeadLetters."""
        envelopes, refused = await self.decode(batch)
        letters = [self._letter(raw, reason) for raw, reason in refused]
        dead = {(raw.partition, raw.offset) for raw, _ in refused}
        for raw in batch:
            self._gauge.note(dead=(raw.partition, raw.offset) in dead)
        if letters:
            await self._bus.publish(DEAD_LETTERS, letters)
        return envelopes

    def _letter(self, raw: Raw, reason: str) -> DeadLetter:
        self._observer.dead_letter()
        where = {"topic": self._topic.name, "partition": raw.partition, "offset": raw.offset}
        log.warning("dead letter: %s", reason, extra=where)
        return DeadLetter(
            topic=self._topic.name,
            partition=raw.partition,
            offset=raw.offset,
            service=self._group,
            reason=reason[:REASON_LENGTH],
            payload=raw.payload,
        )
