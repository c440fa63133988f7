"""Delivers to one sink with patience: a batch is done when the other side has it, however long that takes.

What went wrong is logged once, not with each attempt, and shown in the standing. Errors of our own count as the other
side's: a sink never ends the process that it runs in.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal

import stamina

from driftline.bus.port import Bus, Envelope
from driftline.messages import DEAD_LETTERS, DeadLetter, M
from driftline.metrics import Metrics
from driftline.worker.inbox import REASON_LENGTH
from driftline_combiner.sinks.port import Sink, SinkRefused, SinkUnavailable, Unsendable

log = logging.getLogger(__name__)

WAIT_MAX_S = 30.0
LONGEST_WAIT_S = 300.0
"""For which the other side may ask."""
OURS = "report it with the log's details; the sink goes on as soon as it can"


@dataclass(frozen=True)
class SinkStanding:
    """How a sink does. since: when that began; last_sent: when the other side took something last: seconds since the
    epoch. sent, set_aside: messages since the start."""

    state: Literal["ok", "unavailable", "refused"]
    since: float
    error: str = ""
    remedy: str = ""
    sent: int = 0
    set_aside: int = 0
    last_sent: float | None = None


class _UndeliveredError(Exception):
    """The batch must be sent again. wait: seconds before that, None where the other side does not say."""

    def __init__(self, wait: float | None = None) -> None:
        super().__init__()
        self.wait = wait


def _again(error: Exception) -> bool | float:
    """See `stamina.typing.BackoffHook`."""
    if not isinstance(error, _UndeliveredError):
        return False
    return True if error.wait is None else min(LONGEST_WAIT_S, error.wait)


async def _everything(_: Any) -> bool:
    return True


class Delivery(Generic[M]):
    """See `sink` of `driftline.worker.loop.Worker`. accepts: whether a message is of use; others are passed over."""

    def __init__(
        self,
        name: str,
        sink: Sink[M],
        bus: Bus,
        metrics: Metrics,
        *,
        accepts: Callable[[M], Awaitable[bool]] = _everything,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._sink = sink
        self._bus = bus
        self._accepts = accepts
        self._clock = clock
        self._failing = metrics.sink_failing.labels(name)
        self._set_aside = metrics.sink_set_aside.labels(name)
        self.standing = SinkStanding("ok", clock())

    async def __call__(self, batch: Sequence[Envelope[M]]) -> None:
        accepted = [envelope for envelope in batch if await self._accepts(envelope.value)]
        if not accepted:
            return
        async for attempt in stamina.retry_context(on=_again, attempts=None, timeout=None, wait_max=WAIT_MAX_S):
            with attempt:
                unsendable = await self._try([envelope.value for envelope in accepted])
        await self._bury([(accepted[one.index], one) for one in unsendable])
        self._succeeded(len(accepted) - len(unsendable), len(unsendable))

    async def _try(self, batch: Sequence[M]) -> Sequence[Unsendable]:
        """Raises _UndeliveredError."""
        try:
            return await self._sink.send(batch)
        except SinkUnavailable as error:
            self._failed("unavailable", str(error), "")
            raise _UndeliveredError(error.wait) from error
        except SinkRefused as error:
            self._failed("refused", str(error), error.remedy)
            raise _UndeliveredError from error
        except asyncio.CancelledError:
            raise
        except Exception as error:
            reason = f"unexpected {type(error).__name__}: {error}"
            self._failed("unavailable", reason, OURS, error)
            raise _UndeliveredError from error

    def _failed(
        self, state: Literal["unavailable", "refused"], reason: str, remedy: str, cause: Exception | None = None
    ) -> None:
        former = self.standing
        self._failing.set(1)
        if (former.state, former.error) == (state, reason):
            return
        since = former.since if former.state == state else self._clock()
        self.standing = replace(former, state=state, since=since, error=reason, remedy=remedy)
        level = logging.ERROR if state == "refused" else logging.WARNING
        text = "sink %s: %s" + (f"; {remedy}" if remedy else "")
        log.log(level, text, self._name, reason, exc_info=cause)

    def _succeeded(self, sent: int, set_aside: int) -> None:
        former, now = self.standing, self._clock()
        self._failing.set(0)
        if former.state != "ok":
            log.info("sink %s delivers again", self._name)
        self.standing = SinkStanding(
            "ok",
            former.since if former.state == "ok" else now,
            sent=former.sent + sent,
            set_aside=former.set_aside + set_aside,
            last_sent=now if sent else former.last_sent,
        )

    async def _bury(self, unsendable: Sequence[tuple[Envelope[M], Unsendable]]) -> None:
        """Messages that the other side will never take, to the topic of dead letters."""
        if not unsendable:
            return
        log.warning(
            "sink %s set %d messages aside that the other side will never take, such as: %s",
            self._name,
            len(unsendable),
            unsendable[0][1].reason,
        )
        await self._bus.publish(DEAD_LETTERS, [self._letter(envelope, one) for envelope, one in unsendable])
        self._set_aside.inc(len(unsendable))

    def _letter(self, envelope: Envelope[M], unsendable: Unsendable) -> DeadLetter:
        topic = self._sink.topic
        return DeadLetter(
            topic=topic.name,
            partition=envelope.partition,
            offset=envelope.offset,
            service=group_of(self._name),
            reason=unsendable.reason[:REASON_LENGTH],
            payload=topic.encode(envelope.value),
        )


def group_of(name: str) -> str:
    """The consumer group of the sink `name`, and so its position."""
    return f"combiner-sink-{name}"
