"""Finds what a job learns from: history files, and the archive's windows."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from driftline.definition import StreamDefinition
from driftline.errors import InvalidInput, NotFound
from driftline.store import Store
from driftline.tables import Rows, concatenate, decode, read_file
from driftline_trainer.dataset import WARM_UP
from driftline_trainer.publish import read

AT_ONCE = 8
"""Windows that are on their way from the store."""
DAYS = 7
"""What the memory of the time of day needs to be filled."""


@dataclass(frozen=True)
class NewWindows:
    """What was archived since a speed model last learned. Series are folders such as windows/<stream>/<key>."""

    newest: dict[str, str]
    """Per series its newest window."""
    count: int
    """Windows that nothing has learned from yet."""


class Archive:
    """The archived windows of one stream, as far as they were listed."""

    def __init__(self, store: Store, stream: StreamDefinition) -> None:
        self._store = store
        self._stream = stream
        self._listed: dict[str, list[str]] = {}

    async def refresh(self) -> None:
        """Lists what came since the last time."""
        prefix = f"windows/{self._stream.name}/"
        async for listed in self._store.list(prefix):
            series = listed.key.rpartition("/")[0]
            names = self._listed.setdefault(series, [])
            if not names or listed.key > names[-1]:
                names.append(listed.key)

    def since(self, learned: dict[str, str]) -> NewWindows:
        """learned: per series the newest window that was learned from."""
        count = sum(name > learned.get(series, "") for series, names in self._listed.items() for name in names)
        return NewWindows({series: names[-1] for series, names in self._listed.items()}, count)

    async def newest_rows(self) -> Rows:
        """The newest records of every series: enough to learn from, and before them enough to warm up.

        Raises InvalidInput when the windows are gone.
        """
        each = -(-self._stream.retraining.records // max(1, len(self._listed)))
        warm_up = min(WARM_UP, DAYS * self._stream.season + self._stream.lags + max(self._stream.horizon))
        windows = -(-(each + warm_up) // self._stream.window)
        parts = await self._read([name for names in self._listed.values() for name in names[-windows:]])
        if not parts:
            raise InvalidInput(f"found none of the listed windows of {self._stream.name}, expected some to learn from")
        return concatenate(parts)

    async def all_rows(self) -> list[Rows]:
        """Of all windows, one after the other."""
        return await self._read([name for names in self._listed.values() for name in names])

    async def _read(self, names: list[str]) -> list[Rows]:
        parts: list[Rows | None] = []
        for first in range(0, len(names), AT_ONCE):
            parts += await asyncio.gather(*map(self._window, names[first : first + AT_ONCE]))
        return [part for part in parts if part is not None]

    async def _window(self, name: str) -> Rows | None:
        """Old windows may be removed at any time."""
        with suppress(NotFound):
            body = await read(self._store, name)
            return await asyncio.to_thread(decode, body, self._stream, name)
        return None


async def named(store: Store, data_dir: Path, stream: StreamDefinition, name: str) -> Rows:
    """A history file in the store (a key under history/) or in the data folder. Raises InvalidInput."""
    if name.startswith("history/"):
        try:
            body = await read(store, name)
        except NotFound as error:
            raise InvalidInput(f"history: {error}") from error
        return await asyncio.to_thread(decode, body, stream, name)
    return await asyncio.to_thread(_local, data_dir, stream, name)


def _local(data_dir: Path, stream: StreamDefinition, name: str) -> Rows:
    problem = f"history: found {name!r}, expected a file in the data folder or a store key under history/"
    try:
        path = (data_dir / name).resolve()
        inside = path.is_relative_to(data_dir.resolve()) and path.is_file()
    except (OSError, ValueError) as error:
        raise InvalidInput(problem) from error
    if not inside:
        raise InvalidInput(problem)
    return read_file(path, stream)


async def everything(store: Store, stream: StreamDefinition, archive: Archive) -> Rows:
    """All history files of the stream in the store, and all archived windows. Raises InvalidInput for none."""
    keys = [listed.key async for listed in store.list(f"history/{stream.name}/")]
    bodies = [(key, await read(store, key)) for key in keys]
    parts = [await asyncio.to_thread(decode, body, stream, key) for key, body in bodies]
    parts += await archive.all_rows()
    if not parts:
        raise InvalidInput(f"found no history of {stream.name}, expected files under history/{stream.name}/ or windows")
    return concatenate(parts)
