"""Finds what a job learns from: a history file that it names, or all of them and the archive's windows."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from driftline.errors import InvalidInput, NotFound, TooLarge
from driftline.store.port import Listed, Store, read
from driftline.store.windows import LARGEST
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_trainer.archive import Archive, joined, united
from driftline_trainer.days.sampling import Sample, SamplePart, Sampling
from driftline_trainer.futures import holds_futures
from driftline_trainer.reading import Reading
from driftline_trainer.set_aside import SetAside

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingHistory:
    """What a batch model learns from. sampled_from: records that there were, where these are a sample of them."""

    rows: Rows
    sampled_from: int | None = None


class HistoryFiles:
    """TrainingHistory files in the store under history/, and in the data folder."""

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

    async def everything(
        self, stream: StreamDefinition, archive: Archive, aside: SetAside, most_rows: int, named: Rows | None = None
    ) -> TrainingHistory:
        """All history files of the stream, and all that was archived for it; of more than `most_rows` a sample. named:
        rows of a file that a job names, which come to them.

        What can't be used is set aside. Raises InvalidInput when nothing is left.
        """
        sample = Sample(most_rows, Sampling.of(stream))
        if named is not None:
            sample.add(_of_file(named), len(named))
        listed = [file async for file in self._store.list(f"history/{stream.name}/") if file not in aside]
        for file in listed:
            if holds_futures(stream, file.key):
                continue
            if (rows := await self._rows_of(stream, file, aside)) is not None:
                sample.add(_of_file(rows), len(rows))
        await archive.all_rows(sample)
        if not sample.parts:
            expected = f"files under history/{stream.name}/ or windows that can be used"
            raise InvalidInput(f"found no history of {stream.name}, expected {expected}")
        if sample.sampled_from is not None:
            extra = {"stream": stream.name, "rows": sample.count, "of": sample.total}
            log.warning(
                "there are more rows than are learned from: a sample of all series and times is taken", extra=extra
            )
        return TrainingHistory(joined([united(sample.parts)]), sample.sampled_from)

    async def _rows_of(self, stream: StreamDefinition, file: Listed, aside: SetAside) -> Rows | None:
        try:
            return await self._reading.rows(await read(self._store, file.key, self._limit), stream, file.key)
        except NotFound:
            return None
        except (TooLarge, InvalidInput) as error:
            await aside.add(file, str(error))
            return None


def _of_file(rows: Rows) -> SamplePart:
    """Whatever was archived counts as later than history files."""
    return SamplePart("", rows, np.full(len(rows), -LARGEST))


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
