"""A step over many series: drops what was seen, keeps a state per series, saves and restores it by partition.

What is computed per stream is a `Lane`; everything that all such steps share is here. Pure.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from driftline.bus import Envelope, Output
from driftline.clock import astray
from driftline.messages import Blend, Forecast, Record, Topic

Timed = TypeVar("Timed", bound=Record | Forecast | Blend)
Timed_contra = TypeVar("Timed_contra", bound=Record | Forecast | Blend, contravariant=True)

Told = tuple[Topic[msgspec.Struct], msgspec.Struct]
"""A message with the topic that it goes to."""


class Lane(Protocol[Timed_contra]):
    """All series of one stream that are owned here."""

    ahead: int
    """Seconds by which a record may be ahead of the clock."""

    def work(self, messages: Sequence[Timed_contra]) -> Sequence[Sequence[Told]]:
        """What each message causes, in their order. Times of a key rise strictly."""

    def lacks(self, message: Timed_contra) -> bool:
        """Whether its truth is missing."""

    def awaits(self, message: Timed_contra) -> bool:
        """Whether a message of that time came not long ago, and without the truth that this one brings."""

    def complete(self, message: Timed_contra) -> Sequence[Told]:
        """What a truth causes that was awaited."""

    def last_t(self, key: str) -> int | None:
        """Time of the newest message of `key`, or None when there is no such series."""

    def save(self, key: str) -> bytes:
        """The whole state of a series."""

    def restore(self, key: str, data: bytes) -> None:
        """Takes up what `save` gave; what an older definition saved is left behind and the series starts anew."""

    def forget(self, key: str) -> None:
        """Drops a series that somebody else owns now."""


Series = tuple[str, str]


class KeyedStep(Generic[Timed]):
    """See `driftline.loop.Step`. `dropped` is told the stream and the reason: repeated or out_of_order."""

    def __init__(self, lanes: Mapping[str, Lane[Timed]], dropped: Callable[[str, str], None]) -> None:
        self._lanes = lanes
        self._dropped = dropped
        self._owned: dict[int, set[Series]] = {}
        self._changed: dict[int, set[Series]] = {}
        # States of streams that are not known here yet, or no more: they wait for their definition.
        self._waiting: dict[int, dict[str, dict[str, bytes]]] = {}

    def step(self, batch: Sequence[Envelope[Timed]]) -> list[Output]:
        """What the new messages among `batch` cause, each on its own message's partition."""
        outputs: list[Output] = []
        fresh: dict[str, list[Envelope[Timed]]] = {}
        newest: dict[Series, int] = {}
        lacking: set[tuple[Series, int]] = set()
        self._restore_known()
        for envelope in batch:
            message = envelope.value
            series, lane = (message.stream, message.key), self._lanes[message.stream]
            last = newest[series] if series in newest else lane.last_t(message.key)
            if last is not None and message.t < last and self._is_lost(lane, last, envelope):
                outputs += self._work(message.stream, fresh.pop(message.stream, []))
                lane.forget(message.key)
                last = None
            if last is None or message.t > last:
                newest[series] = message.t
                fresh.setdefault(message.stream, []).append(envelope)
                if lane.lacks(message):
                    lacking.add((series, message.t))
                continue
            if (series, message.t) in lacking or lane.awaits(message):
                # What was before it comes first, wherever the batch was cut.
                outputs += self._work(message.stream, fresh.pop(message.stream, []))
                lacking.discard((series, message.t))
            if lane.awaits(message):
                outputs += self._complete(envelope)
            else:
                self._dropped(message.stream, "repeated" if message.t == last else "out_of_order")
        for stream, envelopes in fresh.items():
            outputs += self._work(stream, envelopes)
        return outputs

    def _is_lost(self, lane: Lane[Timed], last: int, envelope: Envelope[Timed]) -> bool:
        """Whether a series stands at a time that can't be, so that it has to begin anew or would be silent for ever.
        When messages arrived is part of the log: whoever reads it again decides alike."""
        arrived = envelope.timestamp
        return astray(last, arrived, lane.ahead) and not astray(envelope.value.t, arrived, lane.ahead)

    def _work(self, stream: str, envelopes: Sequence[Envelope[Timed]]) -> list[Output]:
        if not envelopes:
            return []
        for envelope in envelopes:
            self._changed.setdefault(envelope.partition, set()).add((stream, envelope.value.key))
        told = self._lanes[stream].work([envelope.value for envelope in envelopes])
        return [
            Output(envelope.partition, topic, message)
            for envelope, messages in zip(envelopes, told, strict=True)
            for topic, message in messages
        ]

    def _complete(self, envelope: Envelope[Timed]) -> list[Output]:
        message = envelope.value
        self._changed.setdefault(envelope.partition, set()).add((message.stream, message.key))
        told = self._lanes[message.stream].complete(message)
        return [Output(envelope.partition, topic, caused) for topic, caused in told]

    def restore(self, partition: int, states: Mapping[str, bytes]) -> None:
        self._owned[partition] = set()
        waiting = self._waiting[partition] = {}
        for name, data in states.items():
            stream, key = name.split("/", 1)
            waiting.setdefault(stream, {})[key] = data
        self._restore_known()

    def _restore_known(self) -> None:
        """Takes up the states of streams that are known by now."""
        for partition, waiting in self._waiting.items():
            for stream in [stream for stream in waiting if stream in self._lanes]:
                for key, data in waiting.pop(stream).items():
                    self._lanes[stream].restore(key, data)
                    self._owned[partition].add((stream, key))

    def snapshot(self, partition: int) -> dict[str, bytes]:
        changed = self._changed.pop(partition, set())
        self._owned.setdefault(partition, set()).update(changed)
        return {f"{stream}/{key}": self._lanes[stream].save(key) for stream, key in changed}

    def resume_at(self, partition: int, consumed: int) -> int:  # noqa: ARG002
        """The states hold all that is needed, so a restart reads on behind what was consumed."""
        return consumed

    def release(self, partition: int) -> None:
        self._waiting.pop(partition, None)
        series = self._owned.pop(partition, set()) | self._changed.pop(partition, set())
        for stream, key in series:
            if self._lanes[stream].last_t(key) is not None:
                self._lanes[stream].forget(key)
