"""What a device of a fleet does while it runs: it takes in the cloud's definitions, and changes its credential."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from driftline.errors import DriftlineError, NotFound, RefusedNote, TooLarge, Unavailable
from driftline.fleet.definitions import FOLDER, KEY, LIMIT
from driftline.fleet.device import Device, Joined
from driftline.fleet.enrolment import rotate, take_in
from driftline.stoppable import until_set
from driftline.store.hints import Keys
from driftline.store.port import Store
from driftline.store.reconcile import StoreReconciler

log = logging.getLogger(__name__)

LOOK_S = 3600.0
"""Seconds between two looks at how old the credential is."""


async def _nothing() -> None:
    """Nobody waits for it."""


class CloudDefinitions:
    """Keeps the device's folder of definitions as the cloud says. on_new: awaited when something in it has changed."""

    def __init__(self, device: Device, store: Store, on_new: Callable[[], Awaitable[None]] = _nothing) -> None:
        self._device = device
        self._store = store
        self._on_new = on_new
        self._etag: str | None = None
        self.refused = ""
        """Why the newest ones were not taken in; empty if they were."""

    def job(self, poll: float) -> StoreReconciler:
        return StoreReconciler("definitions watch", self._store, FOLDER, poll=poll, reconcile=self.reconcile)

    async def reconcile(self, _: Keys) -> None:
        """Raises StoreUnavailable."""
        try:
            stored = await self._store.get(KEY, unless=self._etag, limit=LIMIT)
        except NotFound:
            return
        except TooLarge as error:
            self._refuse(str(error))
            return
        if stored is None:
            return
        try:
            bundle = await asyncio.to_thread(take_in, self._device, stored.body)
        except RefusedNote as error:
            self._refuse(str(error))
        except OSError as error:
            log.warning("the cloud's definitions can't be written: %s", error)
            return
        else:
            self.refused = ""
            if bundle is not None:
                log.info("the cloud's definitions were taken in", extra={"version": bundle.version})
                await self._on_new()
        self._etag = stored.etag

    def _refuse(self, reason: str) -> None:
        if reason != self.refused:
            log.error("the cloud's definitions are refused, the former ones stay: %s", reason)
        self.refused = reason


class CredentialRotation:
    """Takes another credential when the one in use is old; see `driftline.service.app.BackgroundJob`."""

    name = "credential rotation"

    def __init__(self, device: Device, joined: Joined, clock: Callable[[], float] = time.time) -> None:
        self._device = device
        self._joined = joined
        self._clock = clock
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        while not self._stopping.is_set():
            await self.look()
            await until_set(self._stopping, LOOK_S)

    async def stop(self) -> None:
        self._stopping.set()

    async def look(self) -> bool:
        """Whether there is another credential now. What fails is done at the next look: the former one is good until
        then."""
        try:
            age = self._clock() - self._device.credential_file.stat().st_mtime
            if age < self._joined.rotate_after:
                return False
            await rotate(self._device, self._joined)
        except (Unavailable, OSError) as error:
            log.warning("the credential is not changed yet: %s", error)
            return False
        except DriftlineError as error:
            log.error("the credential is not changed: %s", error)  # noqa: TRY400 - it is no bug of ours
            return False
        log.info("this edge shows another credential now", extra={"edge": self._joined.edge})
        return True
