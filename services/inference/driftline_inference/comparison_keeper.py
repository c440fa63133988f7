"""Keeps the totals of all comparisons on this edge's disk, so that a restart does not begin them again."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from driftline.errors import NotFound, StoreUnavailable, TooLarge, Unstorable
from driftline.store.hints import Keys
from driftline.store.port import Store, read
from driftline_inference.step import ForecastStep

log = logging.getLogger(__name__)

SAVE_S = 600.0
"""Between two writings, as flash wears: so much of a comparison a power cut may cost."""
LIMIT = 64 * 1024
"""Bytes of a stream's comparisons at most."""
NOTHING = b"{}"
"""Of a stream without any."""


class ComparisonKeeper:
    """disk: None where nothing is kept. ticks: seconds that never jump."""

    def __init__(
        self,
        disk: Store | None,
        steps: Mapping[str, ForecastStep],
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._disk = disk
        self._steps = steps
        self._ticks = ticks
        self._written: dict[str, bytes] = {}
        self._since = ticks()

    def before(self, restore: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """`restore`, after the comparisons were."""

        async def both() -> None:
            await self.restore()
            await restore()

        return both

    def after(self, reconcile: Callable[[Keys], Awaitable[None]]) -> Callable[[Keys], Awaitable[None]]:
        """`reconcile`, after which the comparisons are saved, if it is time."""

        async def both(keys: Keys) -> None:
            try:
                await reconcile(keys)
            finally:
                if self._ticks() - self._since >= SAVE_S:
                    await self.save()

        return both

    async def restore(self) -> None:
        """Before the first record is forecast."""
        if self._disk is None:
            return
        for stream, step in self._steps.items():
            try:
                body = await read(self._disk, _key(stream), LIMIT)
            except (NotFound, TooLarge, StoreUnavailable):
                continue
            step.comparisons.restore(body)
            self._written[stream] = body

    async def save(self) -> None:
        """Writes what has changed. A disk that is full costs the totals after a restart, and nothing else."""
        self._since = self._ticks()
        if self._disk is not None:
            for stream, step in list(self._steps.items()):
                await self._write(self._disk, stream, step.comparisons.save())

    async def _write(self, disk: Store, stream: str, body: bytes) -> None:
        if body == self._written.get(stream, NOTHING):
            return
        try:
            await disk.put(_key(stream), body)
        except (StoreUnavailable, Unstorable) as error:
            log.warning("comparisons not saved: %s", error, extra={"stream": stream})
        else:
            self._written[stream] = body


def _key(stream: str) -> str:
    return f"comparisons/{stream}.json"
