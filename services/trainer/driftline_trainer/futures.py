"""What was known ahead: history files of futures, and the windows of futures that the archive has written."""

import asyncio
import logging

from driftline.errors import InvalidInput, NotFound, TooLarge
from driftline.store.port import Listed, Store, read
from driftline.store.windows import parse
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import FutureRows, Rows
from driftline_trainer.archive import listed_of
from driftline_trainer.reading import Reading
from driftline_trainer.set_aside import SetAside

log = logging.getLogger(__name__)

NAMED = "futures"
"""History files whose names begin with it hold futures."""
AT_ONCE = 8
"""Windows that are on their way from the store."""
PARTS = 4
"""Of a window's key: futures/<source>/<key>/<name>."""


def holds_futures(stream: StreamDefinition, key: str) -> bool:
    """Whether a history file holds futures and no records."""
    return bool(stream.futures) and key.rpartition("/")[2].startswith(NAMED)


class FutureFiles:
    """The futures of all streams in the store. limit: bytes of a history file; window_limit: of a window."""

    def __init__(self, store: Store, reading: Reading, *, limit: int, window_limit: int) -> None:
        self._store = store
        self._reading = reading
        self._limit = limit
        self._window_limit = window_limit

    async def with_futures(self, rows: Rows, stream: StreamDefinition, aside: SetAside, most: int) -> Rows:
        """The rows with what was known ahead of them, `most` futures or little more, the newest windows first. What
        can't be used is set aside. Raises StoreUnavailable."""
        if not stream.futures or not len(rows):
            return rows
        since = int(rows.t.min()) - stream.kept_ahead * stream.time.period * 1000
        listed = [file async for file in self._store.list(f"history/{stream.name}/") if holds_futures(stream, file.key)]
        files = [file for file in listed if file not in aside]
        windows = [file for file in await self._windows(stream, since) if file not in aside]
        # One history file may be as large as all windows that are on their way at once.
        turns = [[file] for file in files] + [windows[n : n + AT_ONCE] for n in range(0, len(windows), AT_ONCE)]
        parts: list[FutureRows] = []
        for done, turn in enumerate(turns):
            if sum(map(len, parts)) >= most:
                count = sum(map(len, turns[done:]))
                log.warning("older futures are left out", extra={"stream": stream.name, "count": count})
                break
            some = await asyncio.gather(*(self._rows(file, stream, aside) for file in turn))
            parts += [part for part in some if part is not None]
        # Windows come the newest first, and of two alike the later counts.
        return rows.with_futures(parts[::-1])

    async def _windows(self, stream: StreamDefinition, since: int) -> list[Listed]:
        """Those with something that was issued since then, the newest first."""
        windows = []
        async for listed in listed_of(self._store, "futures", stream):
            parts = listed.key.split("/")
            name = parse(parts[-1]) if len(parts) == PARTS else None
            if name is not None and name.last >= since:
                windows.append((name.order, listed))
        return [listed for _, listed in sorted(windows, key=lambda window: window[0], reverse=True)]

    async def _rows(self, file: Listed, stream: StreamDefinition, aside: SetAside) -> FutureRows | None:
        folder = file.key.split("/")[2] if file.key.startswith("futures/") else None
        limit = self._limit if folder is None else self._window_limit
        try:
            body = await read(self._store, file.key, limit)
            return await self._reading.futures(body, stream, file.key, folder)
        except NotFound:
            return None
        except (TooLarge, InvalidInput) as error:
            await aside.add(file, str(error))
            return None
