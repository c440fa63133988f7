"""The day files in the store: which there are, and the rows of them that a stream learns from."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from driftline.errors import InvalidInput, NotFound, TooLarge
from driftline.store.days import DAYS, DayName, parse_day
from driftline.store.port import Listed, Store, read
from driftline.streams.definition import StreamDefinition
from driftline_trainer.days.sampling import Sampling
from driftline_trainer.days.unpacking import DayRows, DaySlice, unpack_day
from driftline_trainer.reading import Reading
from driftline_trainer.set_aside import SetAside
from driftline_trainer.unpacking import Packed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DayFile:
    """A day file as it is listed."""

    listed: Listed
    name: DayName

    @property
    def key(self) -> str:
        return self.listed.key


async def day_files(store: Store, source: str, begin: str = "") -> AsyncIterator[DayFile]:
    """Those of a source whose names begin so, in order of their names. Raises StoreUnavailable."""
    prefix = f"{DAYS}/{source}/"
    async for listed in store.list(prefix + begin):
        name = parse_day(listed.key.removeprefix(prefix))
        if name is not None:
            yield DayFile(listed, name)


class DayReader:
    """Reads one day file after the other for a stream; `limit`: bytes of one."""

    def __init__(
        self, store: Store, stream: StreamDefinition, aside: SetAside, reading: Reading, *, limit: int
    ) -> None:
        self._store = store
        self._stream = stream
        self._aside = aside
        self._reading = reading
        self._limit = limit

    async def newest_first(self) -> list[DayFile]:
        """Those that can be used. Raises StoreUnavailable."""
        files = [
            file
            for name in dict.fromkeys((self._stream.source, self._stream.name))
            async for file in day_files(self._store, name)
            if file.listed not in self._aside
        ]
        return sorted(files, key=lambda file: file.name, reverse=True)

    async def rows(self, file: DayFile, sampling: Sampling, since: int | None = None) -> DayRows | None:
        """None for a file that can't be used, or is there no more. Raises StoreUnavailable."""
        try:
            body = await read(self._store, file.key, self._limit)
            packed = Packed(body, self._stream.mapped, file.key)
            return await self._reading.unpacked(partial(unpack_day, DaySlice(file.name, sampling, since)), packed)
        except NotFound:
            # Retention took it.
            return None
        except (TooLarge, InvalidInput) as error:
            await self._aside.add(file.listed, str(error))
            return None
