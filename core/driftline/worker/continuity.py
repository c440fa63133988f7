"""Whether the messages of a partition begin where its position is, and what became of those that are missing."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from driftline.bus.port import Assignment, Raw, Subscription
from driftline.errors import PassedOver
from driftline.worker.observer import Observer
from driftline.worker.rounds import OwnedPartition
from driftline.worker.step import Step

log = logging.getLogger(__name__)


def first_offsets(batch: Iterable[Raw]) -> dict[int, int]:
    """By partition the first offset."""
    firsts: dict[int, int] = {}
    for raw in batch:
        firsts.setdefault(raw.partition, raw.offset)
    return firsts


class Continuity:
    """Of one worker: counts a partition anew where its topic was made anew, and reports that and what was dropped."""

    def __init__(self, topic: str, step: Step[Any], observer: Observer, *, exactly_once: bool) -> None:
        self._topic = topic
        self._step = step
        self._observer = observer
        self._exactly_once = exactly_once

    def report(self, assignment: Assignment) -> None:
        """What the bus says of a partition as it is taken over."""
        where = {"topic": self._topic, "partition": assignment.partition, "position": assignment.position}
        if assignment.lost:
            self._observer.lost(assignment.lost)
            log.warning("%d messages were dropped by retention before they were read", assignment.lost, extra=where)
        if assignment.unlearned:
            self._unlearned(assignment.unlearned, where)
        if assignment.moved:
            log.info("the states come from another bus: the topic is read from its beginning", extra=where)
        elif assignment.rewound:
            self._rewound(where)

    async def follow_on(
        self, subscription: Subscription, batch: Sequence[Raw], owned_partitions: Mapping[int, OwnedPartition]
    ) -> None:
        """Each partition's messages must begin where its position is. Raises PassedOver where the bus still holds what
        lies between."""
        for partition, first in first_offsets(batch).items():
            owned = owned_partitions[partition]
            where = {"topic": self._topic, "partition": partition, "position": owned.position, "first": first}
            if first > owned.position:
                await self._account_for(subscription, partition, owned, range(owned.position, first), where)
            elif first < owned.position:
                # Since its assignment a partition is read on without a break, so the log itself was made anew.
                self._rewound(where)
                owned.count_from(first)
                self._step.begin_again(partition, first)

    async def _account_for(
        self,
        subscription: Subscription,
        partition: int,
        owned: OwnedPartition,
        missing: range,
        where: Mapping[str, Any],
    ) -> None:
        hole = await subscription.hole(partition, missing)
        if hole.held is not None:
            raise PassedOver(
                f"found message {missing.stop} of {self._topic}, partition {partition}, expected {missing.start}, "
                f"since message {hole.held} is still there"
            )
        # Transactions leave marks and what was aborted between their messages: nothing is lost with those.
        lost = hole.lost if self._exactly_once else len(missing)
        answered = min(lost, max(0, owned.silent_until - missing.start))
        if answered:
            self._unlearned(answered, where)
        if lost := lost - answered:
            self._observer.lost(lost)
            log.warning("%d messages were dropped from the topic before they were read", lost, extra=where)

    def _unlearned(self, messages: int, where: Mapping[str, Any]) -> None:
        self._observer.unlearned(messages)
        log.warning("%d answered messages were dropped before all states were written", messages, extra=where)

    def _rewound(self, where: Mapping[str, Any]) -> None:
        self._observer.rewound()
        log.error("the topic ends before the saved position: it was made anew or cut, and is read again", extra=where)
