"""Binds the step-and-commit loop to the catalogue of metrics."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from driftline.bus.port import Envelope
from driftline.metrics import Metrics

log = logging.getLogger(__name__)


class LoopMetrics:
    """See `driftline.worker.observer.Observer`. on_lost: called with how many messages were dropped before they were
    read."""

    def __init__(
        self, metrics: Metrics, group: str, topic: str, on_lost: Callable[[int], None] = lambda _: None
    ) -> None:
        self._on_lost = on_lost
        self._read = metrics.messages_read.labels(group, topic)
        self._sent = metrics.messages_sent.labels(group)
        self._dead = metrics.dead_letters.labels(group, topic)
        self._restarted = metrics.sessions_restarted.labels(group)
        self._replayed = metrics.messages_replayed.labels(group, topic)
        self._unlearned = metrics.messages_unlearned.labels(group, topic)
        self._lost = metrics.messages_lost.labels(group, topic)
        self._passed_over = metrics.messages_passed_over.labels(group, topic)
        self._rewound = metrics.topics_rewound.labels(group, topic)
        self._stage = metrics.stage_latency.labels(group)
        self._record = metrics.record_latency.labels(group)
        self._sensor = metrics.sensor_latency.labels(group)
        self._checkpoint = metrics.checkpoint_seconds.labels(group)

    def read(self, messages: int) -> None:
        self._read.inc(messages)

    def replayed(self, messages: int) -> None:
        self._replayed.inc(messages)

    def unlearned(self, messages: int) -> None:
        self._unlearned.inc(messages)

    def sent(self, outputs: Sequence[Any], causes: Sequence[Envelope[Any]], now: float) -> None:
        self._sent.inc(len(outputs))
        # An alert has no record's way behind it.
        ways = [value for cause in causes if hasattr(value := cause.value, "received")]
        # 0 where two clocks differ or one was set back, since a sum only ever grows.
        self._stage.observe(max(0.0, now - cause.timestamp) for cause in causes)
        self._record.observe(max(0.0, now - value.received) for value in ways)
        self._sensor.observe(max(0.0, now - value.t / 1000) for value in ways)

    def dead_letter(self) -> None:
        self._dead.inc()

    def checkpointed(self, seconds: float) -> None:
        self._checkpoint.observe(seconds)

    def restarted(self) -> None:
        self._restarted.inc()

    def lost(self, messages: int) -> None:
        self._lost.inc(messages)
        self._on_lost(messages)

    def passed_over(self) -> None:
        self._passed_over.inc()

    def rewound(self) -> None:
        self._rewound.inc()


def report_left_behind(metrics: Metrics) -> Callable[[str, str, str], None]:
    """What a step calls with the stream, the key and the reason when it can't take a saved state up."""

    def report(stream: str, key: str, reason: str) -> None:
        metrics.states_left_behind.labels(stream).inc()
        log.warning("saved state left behind: %s", reason, extra={"stream": stream, "key": key})

    return report
