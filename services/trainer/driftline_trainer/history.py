"""Finds what a job learns from: a history file that it names, or all of them and the archive's windows."""

import asyncio
import logging
from pathlib import Path

from driftline.errors import InvalidInput, NotFound, TooLarge
from driftline.store.port import Listed, Store, read
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_trainer.archive import Archive, joined
from driftline_trainer.futures import holds_futures
from driftline_trainer.reading import Reading
from driftline_trainer.set_aside import SetAside

log = logging.getLogger(__name__)


class HistoryFiles:
    """History files in the store under history/, and in the data folder."""

    def __init__(self, store: Store, data_dir: Path, reading: Reading, *, limit: int) -> None:
        """limit: bytes of a file."""
        self._store = store
        self._data_dir = data_dir
        self._reading = reading
        self._limit = limit

    async def named(self, stream: StreamDefinition, name: str) -> Rows:
        """The file that a job names. Raises InvalidInput."""
        try:
            if name.startswith("history/"):
                body = await read(self._store, name, self._limit)
            else:
                body = await asyncio.to_thread(_local, self._data_dir, name, self._limit)
        except (NotFound, TooLarge) as error:
            raise InvalidInput(f"history: {error}") from error
        return await self._reading.rows(body, stream, name)

    async def any(self, stream: StreamDefinition, aside: SetAside) -> bool:
        """Whether the store has a file that may be usable."""
        async for file in self._store.list(f"history/{stream.name}/"):
            if file not in aside and not holds_futures(stream, file.key):
                return True
        return False

    async def everything(self, stream: StreamDefinition, archive: Archive, aside: SetAside, most_rows: int) -> Rows:
        """All history files of the stream, and what is newest of its archived windows, `most_rows` or little more.

        What can't be used is set aside. Raises InvalidInput when nothing is left.
        """
        files = [file async for file in self._store.list(f"history/{stream.name}/") if file not in aside]
        listed = [file for file in files if not holds_futures(stream, file.key)]
        parts: list[Rows] = []
        for file in listed:
            if (rows := await self._rows_of(stream, file, aside, most_rows - _count(parts))) is not None:
                parts.append(rows)
        parts += await archive.all_rows(most_rows - _count(parts))
        if not parts:
            expected = f"files under history/{stream.name}/ or windows that can be used"
            raise InvalidInput(f"found no history of {stream.name}, expected {expected}")
        return joined(parts)

    async def _rows_of(self, stream: StreamDefinition, file: Listed, aside: SetAside, room: int) -> Rows | None:
        if room <= 0:
            log.warning("history file left out: there are rows enough", extra={"key": file.key})
            return None
        try:
            return await self._reading.rows(await read(self._store, file.key, self._limit), stream, file.key)
        except NotFound:
            return None
        except (TooLarge, InvalidInput) as error:
            await aside.add(file, str(error))
            return None


def _count(parts: list[Rows]) -> int:
    return sum(map(len, parts))


def _local(data_dir: Path, name: str, limit: int) -> bytes:
    problem = f"history: found {name[:200]!r}, expected a file in the data folder or a store key under history/"
    try:
        path = (data_dir / name).resolve()
        if not (path.is_relative_to(data_dir.resolve()) and path.is_file()):
            raise InvalidInput(problem)
        if path.stat().st_size > limit:
            raise TooLarge(name, path.stat().st_size, limit)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise InvalidInput(problem) from error
