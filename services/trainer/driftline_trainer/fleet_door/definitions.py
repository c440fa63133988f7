"""Publishes the trainer's folder of definitions for the edges, whenever its content has changed."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from driftline.errors import Conflict, InvalidInput, NotFound, StoreUnavailable
from driftline.fleet.definitions import KEY, LIMIT, DefinitionBundle, check, version_of
from driftline.fleet.notes import opened, sealed
from driftline.models.signing import Signer, Trust
from driftline.store.port import Store, Stored

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Seconds between two looks at the folder."""


class DefinitionPublisher:
    """See `driftline.service.app.BackgroundJob`. What was published last, by whomever, counts until the folder here
    says something else than it did: of several trainers the one whose folder was changed last is right."""

    name = "definition publisher"

    def __init__(
        self,
        folder: Path,
        store: Store,
        signer: Signer | None,
        trust: Trust,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._store = store
        self._signer = signer
        self._trust = trust
        self._seen: str | None = None
        self._clock = clock
        self._published: str | None = None
        self._refused: str | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.look()
            except (StoreUnavailable, Conflict) as error:
                log.warning("the definitions are not published yet: %s", error)
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def stop(self) -> None:
        self._stopping.set()

    async def look(self) -> None:
        """Publishes what has changed since the last time and was the same at the last look: a file may be in the midst
        of being written. Raises StoreUnavailable, and Conflict where another trainer publishes at this moment."""
        files = await asyncio.to_thread(read_files, self._folder)
        version = version_of(files)
        before, self._seen = self._seen, version
        if not files or version != before or version in {self._published, self._refused}:
            return
        try:
            # In a thread, as with every look at the folder: parsing takes milliseconds.
            await asyncio.to_thread(check, files)
            await self._publish(files, version)
        except InvalidInput as error:
            log.error("the definitions are not published: %s", error)  # noqa: TRY400 - it is no bug of ours
            self._refused = version
            return
        self._published, self._refused = version, None

    async def _publish(self, files: Mapping[str, str], version: str) -> None:
        stored = await self._stored()
        former = self._bundle(stored) if stored is not None else None
        if former is not None and former.version == version:
            return
        # By time, so that numbers grow even where the store was emptied.
        number = max(former.number + 1 if former else 1, int(self._clock() * 1000))
        body = sealed(DefinitionBundle(version=version, number=number, files=dict(files)), self._signer)
        if len(body) > LIMIT:
            raise InvalidInput(f"found {len(body)} bytes of definitions, expected at most {LIMIT}")
        await self._store.put(KEY, body, if_absent=stored is None, if_match=stored.etag if stored else None)
        log.info("definitions published", extra={"version": version, "files": len(files)})

    async def _stored(self) -> Stored | None:
        try:
            return await self._store.get(KEY, limit=LIMIT)
        except NotFound:
            return None

    def _bundle(self, stored: Stored) -> DefinitionBundle | None:
        """What lies there; None for what no trainer signed."""
        try:
            return opened(stored.body, DefinitionBundle, self._trust)
        except InvalidInput:
            return None


def read_files(folder: Path) -> dict[str, str]:
    """The definitions' texts by file name; none at all while one of them can't be read."""
    try:
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))}
    except (OSError, UnicodeDecodeError) as error:
        log.warning("the definitions are not published: %s", error)
        return {}
