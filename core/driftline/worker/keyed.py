"""A step over many series: drops what was seen, keeps a state per series, saves and restores it by partition.

What is computed per stream is a `StreamStep`; everything that all such steps share is here. Pure.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from driftline.bus.port import Envelope, Output
from driftline.clock import astray
from driftline.messages import Alert, Blend, Forecast, Record, Topic
from driftline.worker.silence import BEGINNING, Heard

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

    @property
    def longest_silence(self) -> int:
        """Milliseconds of the stream's time after which a series is forgotten."""

    def work(self, messages: Sequence[Timed_contra]) -> Sequence[Sequence[Emission]]:
        """What each message causes, in their order. Times of a key rise strictly."""

    def lacks(self, message: Timed_contra) -> bool:
        """Whether its truth is missing."""

    def awaits(self, message: Timed_contra) -> bool:
        """Whether a message of that time came not long ago, and without the truth that this one brings."""

    def complete(self, message: Timed_contra) -> Sequence[Emission]:
        """What a truth causes that was awaited."""

    def is_future(self, message: Timed_contra) -> bool:
        """Whether it says what is known of a time ahead, and is no message of its own time."""

    def foresee(self, message: Timed_contra) -> bool:
        """Takes a future in, and returns whether the series keeps it."""

    def last_t(self, key: str) -> int | None:
        """Time of the newest message of `key`, or None when there is no such series."""

    def save(self, key: str, heard: int | None = None) -> bytes:
        """The whole state of a series. heard: when it was heard of last; see `driftline.worker.silence`."""

    def restore(self, key: str, data: bytes) -> Age:
        """Takes up what `save` gave; what an older definition saved is left behind and the series starts anew."""

    def forget(self, key: str) -> None:
        """Drops a series that somebody else owns now, or nobody any more. There need be none."""


Series = tuple[str, str]
AT_ONCE = 100
"""Silent series that are forgotten after one batch at most, so that none takes long; the rest follow after the next."""


@dataclass
class _Partition:
    """What is known of a partition that is owned here."""

    heard: dict[str, Heard] = field(default_factory=lambda: defaultdict(Heard))
    """By stream."""
    changed: dict[Series, None] = field(default_factory=dict)
    """Series whose states are to be saved, or deleted where they are forgotten, in order."""
    waiting: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """States of streams that are not known here yet, or no more: they wait for their definition."""

    def owns(self, series: Series) -> bool:
        stream, key = series
        return stream in self.heard and key in self.heard[stream]


class KeyedStep(Generic[Timed]):
    """See `driftline.worker.loop.Step`. dropped: gets the stream and the reason: repeated, out_of_order or, of a
    future, not_kept.

    A series that was silent for longer than its stream allows is forgotten: its slot is free, its state is deleted, and
    if it comes back it begins again. That is decided when it comes, so it never depends on where batches are cut; when
    the slot and the state go does, by a batch.
    """

    def __init__(self, stream_steps: Mapping[str, StreamStep[Timed]], dropped: Callable[[str, str], None]) -> None:
        self._stream_steps = stream_steps
        self._dropped = dropped
        self._partitions: dict[int, _Partition] = defaultdict(_Partition)

    def step(self, batch: Sequence[Envelope[Timed]]) -> list[Output]:
        """What the new messages among `batch` cause, each on its own message's partition."""
        # Messages are collected by stream and worked off together. The step does not know of them yet: `newest` and
        # `lacking` do. A message that changes a series out of turn has those before it worked off first.
        outputs: list[Output] = []
        fresh: dict[str, list[Envelope[Timed]]] = {}
        newest: dict[Series, int] = {}
        lacking: set[tuple[Series, int]] = set()
        self._restore_known()
        for envelope in batch:
            message = envelope.value
            series, stream_step = (message.stream, message.key), self._stream_steps[message.stream]
            if stream_step.is_future(message):
                # What was before it comes first, wherever the batch was cut: another series' record may release one of
                # this series.
                outputs += self._work(message.stream, fresh.pop(message.stream, []))
                self._foresee(envelope)
                continue
            heard = self._partitions[envelope.partition].heard[message.stream]
            # A time that can't be is no time of the stream: all others would have been silent until then.
            t = BEGINNING if astray(message.t, envelope.timestamp, stream_step.ahead) else message.t
            if heard.is_silent(message.key, t, stream_step.longest_silence):
                # Its messages so far belong to the state that is dropped now, those from this one on to a new state.
                if series in newest:
                    outputs += self._work(message.stream, fresh.pop(message.stream, []))
                    del newest[series]
                self._forget(envelope.partition, series)
            last = newest.get(series, stream_step.last_t(message.key))
            if last is not None and message.t < last and self._is_lost(stream_step, last, envelope):
                outputs += self._work(message.stream, fresh.pop(message.stream, []))
                stream_step.forget(message.key)
                last = None
            if last is None or message.t > last:
                newest[series] = message.t
                heard.hear(message.key, t)
                fresh.setdefault(message.stream, []).append(envelope)
                if stream_step.lacks(message):
                    lacking.add((series, message.t))
                continue
            if (series, message.t) in lacking or stream_step.awaits(message):
                # What was before it comes first, wherever the batch was cut.
                outputs += self._work(message.stream, fresh.pop(message.stream, []))
                lacking.discard((series, message.t))
            outputs += self._late(envelope, t, last)
        for stream, envelopes in fresh.items():
            outputs += self._work(stream, envelopes)
        self._forget_silent({(envelope.partition, envelope.value.stream) for envelope in batch})
        return outputs

    def _foresee(self, envelope: Envelope[Timed]) -> None:
        """A future keeps no series alive, and begins none."""
        message, partition = envelope.value, self._partitions[envelope.partition]
        if partition.owns((message.stream, message.key)) and self._stream_steps[message.stream].foresee(message):
            partition.changed[message.stream, message.key] = None
        else:
            self._dropped(message.stream, "not_kept")

    def _is_lost(self, stream_step: StreamStep[Timed], last: int, envelope: Envelope[Timed]) -> bool:
        """Whether a series stands at a time that can't be, so that it has to begin anew or would be silent for ever.
        When messages arrived is part of the log: whoever reads it again decides alike."""
        arrived = envelope.timestamp
        return astray(last, arrived, stream_step.ahead) and not astray(envelope.value.t, arrived, stream_step.ahead)

    def _work(self, stream: str, envelopes: Sequence[Envelope[Timed]]) -> list[Output]:
        if not envelopes:
            return []
        for envelope in envelopes:
            self._partitions[envelope.partition].changed[stream, envelope.value.key] = None
        emissions = self._stream_steps[stream].work([envelope.value for envelope in envelopes])
        outputs: list[Output] = []
        for envelope, messages in zip(envelopes, emissions, strict=True):
            changed = self._partitions[envelope.partition].changed
            for topic, message in messages:
                # A message may release those of other series, which waited for it.
                changed[stream, message.key] = None
                outputs.append(Output(envelope.partition, topic, message))
        return outputs

    def _late(self, envelope: Envelope[Timed], t: int, last: int) -> list[Output]:
        """Takes in a truth that was awaited, and drops anything else. t: see `step`. last: time of the newest message
        of its series."""
        message = envelope.value
        if not self._stream_steps[message.stream].awaits(message):
            self._dropped(message.stream, "repeated" if message.t == last else "out_of_order")
            return []
        self._partitions[envelope.partition].heard[message.stream].hear(message.key, t)
        return self._complete(envelope)

    def _complete(self, envelope: Envelope[Timed]) -> list[Output]:
        message = envelope.value
        self._partitions[envelope.partition].changed[message.stream, message.key] = None
        emissions = self._stream_steps[message.stream].complete(message)
        return [Output(envelope.partition, topic, caused) for topic, caused in emissions]

    def _forget_silent(self, touched: Iterable[tuple[int, str]]) -> None:
        """Gives back the slots of silent series, AT_ONCE at most."""
        left = AT_ONCE
        for partition, stream in sorted(touched):
            heard, longest = self._partitions[partition].heard[stream], self._stream_steps[stream].longest_silence
            while left and (key := heard.first_silent(longest)) is not None:
                self._forget(partition, (stream, key))
                left -= 1

    def _forget(self, partition: int, series: Series) -> None:
        self._partitions[partition].changed[series] = None
        self._drop(partition, series)

    def _drop(self, partition: int, series: Series) -> None:
        """Lets go of a series here; its slot is given back unless another partition has it, too, since topics grew."""
        stream, key = series
        self._partitions[partition].heard[stream].forget(key)
        if not any(other.owns(series) for other in self._partitions.values()):
            self._stream_steps[stream].forget(key)

    def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        waiting = self._partitions[partition].waiting
        for name, data in states.items():
            stream, key = name.split("/", 1)
            if data is not None:
                waiting.setdefault(stream, {})[key] = data
            elif self._partitions[partition].owns((stream, key)):
                # Deleted after it was saved: neither a state in use nor one that still waits may stay.
                self._drop(partition, (stream, key))
            else:
                waiting.get(stream, {}).pop(key, None)
        self._restore_known()

    def _restore_known(self) -> None:
        """Takes up the states of streams that are known by now."""
        for partition in self._partitions.values():
            for stream in [stream for stream in partition.waiting if stream in self._stream_steps]:
                for key, data in partition.waiting.pop(stream).items():
                    age = self._take_up(partition, (stream, key), data)
                    partition.heard[stream].restore(key, age.heard)

    def _take_up(self, partition: _Partition, series: Series, data: bytes) -> Age:
        """Restores a series. Where another partition has it, too, since topics grew or it belongs to a group by now,
        the newer state stays: the older is of the partition that the series has left."""
        stream, key = series
        stream_step = self._stream_steps[stream]
        last = stream_step.last_t(key)
        if last is None or not any(other.owns(series) for other in self._partitions.values() if other is not partition):
            return stream_step.restore(key, data)
        # Forgotten before each is restored, so that nothing of one is left in the other.
        other_state = stream_step.save(key)
        stream_step.forget(key)
        age = stream_step.restore(key, data)
        if stream_step.last_t(key) is None or age.t < last:
            stream_step.forget(key)
            stream_step.restore(key, other_state)
        return age

    def snapshot(self, partition: int, limit: int | None = None) -> dict[str, bytes | None]:
        changed = self._partitions[partition].changed
        given = list(islice(changed, limit))
        # No longer changed before it is written: if the write fails, the session restarts from the checkpoint.
        for series in given:
            del changed[series]
        return {f"{stream}/{key}": self._saved(partition, (stream, key)) for stream, key in given}

    def unsaved(self) -> int:
        return sum(len(partition.changed) for partition in self._partitions.values())

    def _saved(self, partition: int, series: Series) -> bytes | None:
        stream, key = series
        heard = self._partitions[partition].heard[stream]
        # None deletes the state of a series that was forgotten.
        return self._stream_steps[stream].save(key, heard.at(key)) if key in heard else None

    def resume_at(self, partition: int, consumed: int) -> int:  # noqa: ARG002
        """The states hold all that is needed, so a restart reads on behind what was consumed."""
        return consumed

    def release(self, partition: int) -> None:
        if partition in self._partitions:
            for stream, heard in self._partitions[partition].heard.items():
                for key in list(heard):
                    self._drop(partition, (stream, key))
            del self._partitions[partition]
