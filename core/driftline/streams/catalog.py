"""The streams that a process works on: those of a folder of definitions, and whatever is put there while it runs.

A stream that runs keeps its definition until a restart, since its checkpointed state, its models and its windows have
that definition's shape. So streams are only ever added; what else changes in the folder is told, and does nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

from driftline.errors import InvalidDefinition
from driftline.stoppable import until_set
from driftline.streams.definition import StreamDefinition
from driftline.streams.folder import DefinitionFolder, Look
from driftline.streams.sources import joined, refusal

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the folder is looked at."""
SETTLE_S = 0.3
"""For so long a file must stay as it is before it is read."""
SETTLING_LOOKS = 10
WAITED_FOR = 10
"""Streams that were waited for in vain, after which nobody is waited for until the next definition comes."""

T = TypeVar("T")


class StreamState(NamedTuple):
    """How a stream stands. note: action to take, and what is wrong with its records, if any."""

    stream: str
    state: Literal["runs", "changed", "gone"]
    note: str


class Streams(Mapping[str, StreamDefinition]):
    """The definitions by stream name. Who iterates while one is added sees those from before."""

    def __init__(self, known: Mapping[str, StreamDefinition], folder: DefinitionFolder | None = None) -> None:
        """Without a folder there are never more than the `known` ones."""
        self._known = dict(known)
        self.sources = Sources(self._known.values())
        """What their records are sent and archived under."""
        self._folder = folder
        self._last = Look(self._known)
        self._looking = asyncio.Lock()
        self._in_vain: set[str] = set()
        self._misfits: dict[str, str] = {}
        """By name why a stream can't be added to its source before a restart."""
        self._warnings: dict[str, str] = {}
        self._readers: list[Callable[[StreamDefinition], None]] = []

    @classmethod
    def of(cls, streams: Mapping[str, StreamDefinition]) -> "Streams":
        """Themselves, or these and never more."""
        return streams if isinstance(streams, Streams) else cls(streams)

    @classmethod
    def open(cls, path: Path, cloud: Path | None = None) -> "Streams":
        """Those in the folder `path`, and those of the cloud whose names it has not. A file that can't be used costs
        its own stream alone. Raises InvalidDefinition when that leaves none."""
        folder = DefinitionFolder(path, cloud)
        look = folder.look(settled=True)
        if not look.definitions:
            nothing = f"{path}: found no *.yaml file, expected at least one stream definition"
            raise InvalidDefinition("\n".join(look.refused.values()) or nothing)
        streams = cls(look.definitions, folder)
        streams._log_news(look)
        return streams

    def __getitem__(self, name: str) -> StreamDefinition:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    @property
    def of_records(self) -> Mapping[str, StreamDefinition]:
        """By the names that records have: the sources, and the streams, which had no other source before."""
        return self.sources.of_records

    @property
    def refused(self) -> Mapping[str, str]:
        """By file of the folder why it can't be used, and by name why a stream can't be added to those that run."""
        return {**self._last.refused, **self._misfits}

    def standings(self) -> list[StreamState]:
        """How every stream stands beside what the folder says now, and what is wrong with its records."""
        return [self._warned(self._standing(name)) for name in self._known]

    def warn(self, name: str, warning: str | None) -> None:
        """Shows what is wrong with the records of a stream, or nothing any more. It is logged once."""
        if warning is not None and name not in self._warnings:
            log.warning("stream %s: %s", name, warning)
        if warning is not None or name in self._warnings:
            self._warnings[name] = warning or ""

    def on_new(self, reader: Callable[[StreamDefinition], None]) -> None:
        """`reader` is told of every stream that is added."""
        self._readers.append(reader)

    def on_every(self, reader: Callable[[StreamDefinition], None]) -> None:
        """`reader` is told of every stream, now and when it is added."""
        for stream in self._known.values():
            reader(stream)
        self.on_new(reader)

    async def look(self) -> None:
        """Takes in what is new in the folder; for files that are being written it waits a moment."""
        async with self._looking:
            for _ in range(SETTLING_LOOKS):
                if not await self._take():
                    return
                await asyncio.sleep(SETTLE_S)

    async def expect(self, name: str, patience: float) -> None:
        """Returns when the stream `name` is known, or after `patience` seconds, but waits for each only once.

        Services see a new file at different times: what one has accepted must not be refused by the next."""
        await self._expect(name, self, patience)

    async def expect_source(self, name: str, patience: float) -> None:
        """The same of a source: one of its streams is enough."""
        await self._expect(name, self.sources, patience)

    async def _expect(self, name: str, expected: Mapping[str, StreamDefinition], patience: float) -> None:
        known_or_vain = name in expected or name in self._in_vain or len(self._in_vain) >= WAITED_FOR
        if self._folder is None or known_or_vain:
            return
        clock = asyncio.get_running_loop().time
        end = clock() + patience
        await self.look()
        while name not in expected and clock() < end:
            await asyncio.sleep(min(LOOK_S, end - clock()))
            await self.look()
        if name not in expected:
            self._in_vain.add(name)

    async def _take(self) -> bool:
        """Looks once; returns whether a file is settling."""
        if self._folder is None:
            return False
        # Parsing takes milliseconds that no record should wait for.
        look = await asyncio.to_thread(self._folder.look)
        new = [stream for name, stream in look.definitions.items() if name not in self._known]
        added = self._fitting(new)
        self._known = self._known | {stream.name: stream for stream in added}
        self.sources.add(added)
        self._log_news(look)
        for stream in added:
            self._in_vain.clear()
            log.info("stream added", extra={"stream": stream.name})
            for reader in self._readers:
                reader(stream)
        self.sources.tell(added)
        return look.settling

    def _fitting(self, new: Sequence[StreamDefinition]) -> list[StreamDefinition]:
        """Those that agree with the streams of their source that run, whatever the files of these say by now."""
        running = [(f"the definition with which {name!r} runs", stream) for name, stream in self._known.items()]
        reasons = {stream.name: refusal(stream, f"stream {stream.name!r}", running) for stream in new}
        misfits = {name: reason for name, reason in reasons.items() if reason is not None}
        for name, reason in misfits.items():
            if self._misfits.get(name) != reason:
                log.error("stream definition refused until a restart: %s", reason)
        self._misfits = misfits
        return [stream for stream in new if stream.name not in misfits]

    def _log_news(self, look: Look) -> None:
        """Logs what is new of what can't be used."""
        before, self._last = self._last, look
        for file, reason in look.refused.items():
            if before.refused.get(file) != reason:
                log.error("stream definition refused: %s", reason)
        for name, known in self._known.items():
            current = look.definitions.get(name)
            if current not in (known, before.definitions.get(name)):
                log.warning("stream %s: %s", name, self._standing(name).note)

    def _warned(self, state: StreamState) -> StreamState:
        notes = (state.note, self._warnings.get(state.stream, ""))
        return state._replace(note="; ".join(filter(None, notes)))

    def _standing(self, name: str) -> StreamState:
        current = self._last.definitions.get(name)
        if current == self._known[name]:
            return StreamState(name, "runs", "")
        if current is None:
            return StreamState(name, "gone", "found no file of it that can be used; it runs on until a restart")
        return StreamState(name, "changed", "its file has changed; restart all services to change a stream that runs")


class Sources(Mapping[str, StreamDefinition]):
    """By name the sources of streams, as `driftline.streams.sources` joins them. Streams may be added: then the
    source's definition is another one."""

    def __init__(self, streams: Iterable[StreamDefinition]) -> None:
        self._streams: dict[str, tuple[StreamDefinition, ...]] = {}
        self._joined: dict[str, StreamDefinition] = {}
        self._readers: list[Callable[[StreamDefinition], None]] = []
        # It grows in place, since it is asked for every record.
        self._of_records: dict[str, StreamDefinition] = {}
        self.add(streams)

    def __getitem__(self, name: str) -> StreamDefinition:
        return self._joined[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._joined)

    def __len__(self) -> int:
        return len(self._joined)

    @property
    def of_records(self) -> Mapping[str, StreamDefinition]:
        """See `Streams.of_records`."""
        return self._of_records

    def streams_of(self, name: str) -> tuple[StreamDefinition, ...]:
        """The streams of a source, in the order in which they came; none for another name."""
        return self._streams.get(name, ())

    def of_stream(self, name: str) -> str | None:
        """The source of a stream; None where no stream has that name."""
        members = ((source, stream.name) for source, streams in self._streams.items() for stream in streams)
        return next((source for source, stream in members if stream == name), None)

    def add(self, streams: Iterable[StreamDefinition]) -> None:
        """Takes streams in; readers learn of them by `tell`."""
        members, definitions = dict(self._streams), dict(self._joined)
        for stream in streams:
            members[stream.source] = (*members.get(stream.source, ()), stream)
            definitions[stream.source] = joined(members[stream.source])
            self._of_records[stream.name] = stream
        # Replaced as a whole, so that those who iterate see the sources from before.
        self._streams, self._joined = members, definitions
        self._of_records |= definitions

    def tell(self, added: Iterable[StreamDefinition]) -> None:
        """Readers get the sources of streams that were added."""
        for name in dict.fromkeys(stream.source for stream in added):
            for reader in self._readers:
                reader(self._joined[name])

    def on_new(self, reader: Callable[[StreamDefinition], None]) -> None:
        """`reader` gets every source that is new or has a stream more."""
        self._readers.append(reader)

    def on_every(self, reader: Callable[[StreamDefinition], None]) -> None:
        """`reader` gets every source, now and as by `on_new`."""
        for source in self._joined.values():
            reader(source)
        self.on_new(reader)


class PerStream(Mapping[str, T], Generic[T]):
    """One T for each stream, made when it is first asked for; streams may be added meanwhile. Of sources, it is made
    again when a stream was added."""

    def __init__(self, streams: Mapping[str, StreamDefinition], make: Callable[[StreamDefinition], T]) -> None:
        self._streams = streams
        self._make = make
        self._of: dict[str, tuple[StreamDefinition, T]] = {}

    def __getitem__(self, name: str) -> T:
        stream = self._streams[name]
        known = self._of.get(name)
        if known is None or known[0] is not stream:
            known = self._of[name] = (stream, self._make(stream))
        return known[1]

    def __contains__(self, name: object) -> bool:
        return name in self._streams

    def __iter__(self) -> Iterator[str]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)


class CatalogRefresher:
    """Looks at the folder again and again; see `driftline.service.app.BackgroundJob`."""

    name = "catalog refresher"

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        while not self._stopping.is_set():
            await self._streams.look()
            await until_set(self._stopping, LOOK_S)

    async def stop(self) -> None:
        self._stopping.set()
