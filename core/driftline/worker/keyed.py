"""A step over many series: drops what was seen, forgets who is silent, and works off what is new, stream by stream.

What is computed per stream is a `StreamStep`; everything that all such steps share is here. Pure.

States are saved in rounds, see `driftline.worker.partition_states`. After a restart the input is read again from where
the last whole round began; of each series only what its state lacks is worked off.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Generic

from driftline.bus.port import Assignment, Envelope, Output
from driftline.clock import astray
from driftline.worker.partition_states import AT_ONCE, PartitionStates
from driftline.worker.silence import BEGINNING
from driftline.worker.stream_step import Series, StreamStep, Timed


class _Unlearned(Generic[Timed]):
    """New messages of a stream that its step does not know of yet."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope[Timed]] = []
        self._times: set[tuple[str, int]] = set()
        self._indexed = 0

    def has(self, message: Timed) -> bool:
        """Whether one of that key and time is among them. Costs nothing where nobody asks."""
        for envelope in islice(self.envelopes, self._indexed, None):
            self._times.add((envelope.value.key, envelope.value.t))
        self._indexed = len(self.envelopes)
        return (message.key, message.t) in self._times


def _itself(message: Timed) -> Sequence[Timed]:
    return (message,)


class KeyedStep(Generic[Timed]):
    """See `driftline.worker.step.Step`. dropped: gets the stream and the reason: repeated, out_of_order or, of a
    future, not_kept. left_behind: gets the stream, key and reason of a saved state that can't be read: its series
    begins again. parts: what a message of a source is to each of its streams; see `driftline.streams.sources`.

    A series that was silent for longer than its stream allows is forgotten: its slot is free, its state is deleted, and
    if it comes back it begins again. That is decided when it comes, so it never depends on where batches are cut; when
    the slot and the state go does, by a batch.
    """

    def __init__(
        self,
        stream_steps: Mapping[str, StreamStep[Timed]],
        dropped: Callable[[str, str], None],
        left_behind: Callable[[str, str, str], None] = lambda *_: None,
        *,
        parts: Callable[[Timed], Sequence[Timed]] = _itself,
    ) -> None:
        self._stream_steps = stream_steps
        self._parts = parts
        self._dropped = dropped
        self._states = states = PartitionStates(stream_steps, left_behind)
        self._partitions = states.partitions
        self._mark, self._knows = states.mark, states.knows
        self._replaying = False

    def step(self, batch: Sequence[Envelope[Timed]]) -> list[Output]:
        """What the new messages among `batch` cause, each on its own message's partition."""
        # Messages are collected by stream and worked off together. The step does not know of them yet: `newest` and
        # `lacking` do. A message that changes a series out of turn has those before it worked off first.
        outputs: list[Output] = []
        fresh: defaultdict[str, _Unlearned[Timed]] = defaultdict(_Unlearned)
        newest: dict[Series, int] = {}
        lacking: set[tuple[Series, int]] = set()
        touched: set[tuple[int, str]] = set()
        self._states.restore_known()
        for envelope in self._unlearned(batch, touched):
            message = envelope.value
            series, stream_step = (message.stream, message.key), self._stream_steps[message.stream]
            if stream_step.is_future(message):
                # What was before it comes first, wherever the batch was cut: another series' record may release one of
                # this series.
                outputs += self._work_off(message.stream, fresh)
                self._foresee(envelope)
                continue
            heard = self._partitions[envelope.partition].heard[message.stream]
            # A time that can't be is no time of the stream: all others would have been silent until then.
            t = BEGINNING if astray(message.t, envelope.timestamp, stream_step.ahead) else message.t
            if heard.is_silent(message.key, t, stream_step.longest_silence):
                # Its messages so far belong to the state that is dropped now, those from this one on to a new state.
                if series in newest:
                    outputs += self._work_off(message.stream, fresh)
                    del newest[series]
                self._states.forget(envelope.partition, series)
            last = newest.get(series, stream_step.last_t(message.key))
            if last is not None and message.t < last and self._is_lost(stream_step, last, envelope):
                outputs += self._work_off(message.stream, fresh)
                stream_step.forget(message.key)
                last = None
            if last is None or message.t > last:
                newest[series] = message.t
                heard.hear(message.key, t)
                fresh[message.stream].envelopes.append(envelope)
                if stream_step.lacks(message):
                    lacking.add((series, message.t))
                continue
            if (series, message.t) in lacking or self._may_be_awaited(message, fresh.get(message.stream)):
                # What was before it comes first, wherever the batch was cut.
                outputs += self._work_off(message.stream, fresh)
                lacking.discard((series, message.t))
            outputs += self._late(envelope, t, last)
        for stream in list(fresh):
            outputs += self._work_off(stream, fresh)
        self._forget_silent(touched)
        return outputs

    def _may_be_awaited(self, message: Timed, unlearned: _Unlearned[Timed] | None) -> bool:
        """Whether a message that is not newer than the newest of its series may be one that the step waits for, once it
        knows those before it."""
        stream_step = self._stream_steps[message.stream]
        if stream_step.awaits(message) or self._may_be_released(message):
            return True
        # What the step knows already skips nothing more. Of those that it doesn't know, each may skip some.
        known = stream_step.last_t(message.key)
        return unlearned is not None and (known is None or message.t > known) and not unlearned.has(message)

    def _may_be_released(self, message: Timed) -> bool:
        """Whether a record that waits for its group may lack what this one brings: another record before it may release
        it."""
        stream_step = self._stream_steps[message.stream]
        return self._knows((message.stream, message.key)) and stream_step.group_of(message.key) != ""

    def replay(self, batch: Sequence[Envelope[Timed]]) -> None:
        """As `step`, of messages that were answered before: series take in what their states lack."""
        self._set_replaying(replaying=True)
        try:
            self.step(batch)
        finally:
            self._set_replaying(replaying=False)

    def _set_replaying(self, *, replaying: bool) -> None:
        self._replaying = replaying
        for stream_step in self._stream_steps.values():
            stream_step.replaying = replaying

    def _unlearned(self, batch: Iterable[Envelope[Timed]], touched: set[tuple[int, str]]) -> Iterator[Envelope[Timed]]:
        """Those of the messages, as the streams of their source see them, that are not in the states yet, each once
        those before it are worked off. touched: gets the partitions and streams of all of them."""
        for whole in batch:
            partition, offset = whole.partition, whole.offset
            self._partitions[partition].next = offset + 1
            for message in self._parts(whole.value):
                touched.add((partition, message.stream))
                envelope = Envelope(partition, offset, whole.timestamp, message)
                if not (self._replaying and self._is_in_state(envelope)):
                    yield envelope

    def _is_in_state(self, envelope: Envelope[Timed]) -> bool:
        """Whether the restored state of its series has it; then only its time counts, for the others of the stream."""
        message, partition = envelope.value, self._partitions[envelope.partition]
        if envelope.offset >= partition.saved.get((message.stream, message.key), 0):
            return False
        stream_step = self._stream_steps[message.stream]
        if not stream_step.is_future(message) and not astray(message.t, envelope.timestamp, stream_step.ahead):
            partition.heard[message.stream].advance(message.t)
        return True

    def _drop_message(self, stream: str, reason: str) -> None:
        if not self._replaying:
            self._dropped(stream, reason)

    def _foresee(self, envelope: Envelope[Timed]) -> None:
        """A future keeps no series alive, and begins none."""
        message, partition = envelope.value, self._partitions[envelope.partition]
        if partition.owns((message.stream, message.key)) and self._stream_steps[message.stream].foresee(message):
            self._mark(partition, (message.stream, message.key))
        else:
            self._drop_message(message.stream, "not_kept")

    def _is_lost(self, stream_step: StreamStep[Timed], last: int, envelope: Envelope[Timed]) -> bool:
        """Whether a series stands at a time that can't be, so that it has to begin anew or would be silent for ever.
        When messages arrived is part of the log: whoever reads it again decides alike."""
        arrived = envelope.timestamp
        return astray(last, arrived, stream_step.ahead) and not astray(envelope.value.t, arrived, stream_step.ahead)

    def _work_off(self, stream: str, fresh: dict[str, _Unlearned[Timed]]) -> list[Output]:
        """Works off the new messages of a stream, which are no longer among `fresh` then."""
        unlearned = fresh.pop(stream, None)
        return [] if unlearned is None else self._work(stream, unlearned.envelopes)

    def _work(self, stream: str, envelopes: Sequence[Envelope[Timed]]) -> list[Output]:
        if not envelopes:
            return []
        for envelope in envelopes:
            partition, key = self._partitions[envelope.partition], envelope.value.key
            if self._knows((stream, key)):
                # It may belong to another group from now on: both must be known then.
                self._mark(partition, (stream, key))
        emissions = self._stream_steps[stream].work([envelope.value for envelope in envelopes])
        outputs: list[Output] = []
        for envelope, messages in zip(envelopes, emissions, strict=True):
            partition = self._partitions[envelope.partition]
            self._mark(partition, (stream, envelope.value.key))
            for topic, message in messages:
                # A message may release those of other series, which waited for it.
                if message.key != envelope.value.key:
                    self._mark(partition, (stream, message.key))
                outputs.append(Output(envelope.partition, topic, message))
        return outputs

    def _late(self, envelope: Envelope[Timed], t: int, last: int) -> list[Output]:
        """Takes in a truth or a message that was awaited, and drops anything else. t: see `step`. last: time of the
        newest message of its series."""
        message = envelope.value
        if not self._stream_steps[message.stream].awaits(message):
            self._drop_message(message.stream, "repeated" if message.t == last else "out_of_order")
            return []
        self._partitions[envelope.partition].heard[message.stream].hear(message.key, t)
        return self._complete(envelope)

    def _complete(self, envelope: Envelope[Timed]) -> list[Output]:
        message = envelope.value
        self._mark(self._partitions[envelope.partition], (message.stream, message.key))
        emissions = self._stream_steps[message.stream].complete(message)
        return [Output(envelope.partition, topic, caused) for topic, caused in emissions]

    def _forget_silent(self, touched: Iterable[tuple[int, str]]) -> None:
        """Gives back the slots of silent series, AT_ONCE at most."""
        left = AT_ONCE
        for partition, stream in sorted(touched):
            heard, longest = self._partitions[partition].heard[stream], self._stream_steps[stream].longest_silence
            while left and (key := heard.first_silent(longest)) is not None:
                self._states.forget(partition, (stream, key))
                left -= 1

    def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        self._states.restore(partition, states)

    def begin(self, assignment: Assignment) -> bool:
        return self._states.begin(assignment)

    def begin_again(self, partition: int, position: int) -> None:
        self._states.begin_again(partition, position)

    def begin_round(self, partition: int, restart: int) -> Mapping[str, bytes]:
        return self._states.begin_round(partition, restart)

    def snapshot(self, partition: int, limit: int | None = None) -> dict[str, bytes | None]:
        return self._states.snapshot(partition, limit)

    def left(self, partition: int) -> int:
        return self._states.left(partition)

    def unsaved(self, partition: int) -> int:
        return self._states.unsaved(partition)

    def release(self, partition: int) -> bool:
        return self._states.release(partition)

    def resume_at(self, partition: int, consumed: int) -> int:  # noqa: ARG002
        """The states hold all that is needed, so a restart reads on behind what was consumed."""
        return consumed
