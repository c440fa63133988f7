"""Kills an edge with -9 at each step of a swap: run as `python -m tests.faults.killed`, see test_kill.py.

A step is a call to the store or to the cache's folder. Before each run the cache is as it was; after each, an edge that
starts without a store, and then one with it, say what they serve: a line of JSON for every step.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from driftline.models.signing import Trust
from driftline.store.folder import FolderStore
from driftline.store.port import Listed, Store, Stored
from driftline.store.s3 import S3Settings, S3Store
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline_inference.registry.cache import Cache
from tests.models import Models

NOWHERE = "http://127.0.0.1:9"


class Countdown:
    """Ends this process, as a power cut would, at the nth step."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class CountedS3(S3Store):
    def __init__(self, settings: S3Settings, countdown: Countdown) -> None:
        super().__init__(settings)
        self._countdown = countdown

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        self._countdown.step()
        return await super().get(key, unless=unless, limit=limit)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        self._countdown.step()
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)


class CountedFolder(FolderStore):
    """A put counts twice: it may be cut off before, and when half of the bytes are written."""

    def __init__(self, root: Path, countdown: Countdown) -> None:
        super().__init__(root)
        self._countdown = countdown

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        self._countdown.step()
        return await super().get(key, unless=unless, limit=limit)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        self._countdown.step()
        half = self.root / key
        half.parent.mkdir(parents=True, exist_ok=True)
        half.with_name(".half").write_bytes(body[: len(body) // 2])
        self._countdown.step()
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)

    async def delete(self, key: str) -> None:
        self._countdown.step()
        await super().delete(key)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        self._countdown.step()
        async for listed in super().list(prefix, after=after):
            yield listed


async def served(store: Store, cache: FolderStore, stream: StreamDefinition, key: str) -> str | None:
    """What an edge serves after one look at the store."""
    models = Models.on(store, stream, Trust([key]), cache=Cache(cache))
    try:
        await models.reconcile()
    except Exception as error:  # noqa: BLE001 - a store that is away
        print(type(error).__name__, file=sys.stderr)  # noqa: T201
    finally:
        await store.close()
    return models.registry.state(stream.name, "batch").version


async def warm(settings: S3Settings) -> None:
    """Reads here what each child would read for itself: the store's client is made of megabytes of JSON."""
    store = S3Store(settings)
    await store.check()
    await store.close()


def in_a_child(work: Any) -> tuple[int, str]:
    """Runs `work` in a process of its own; its exit status, negative for a signal, and what it returned."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, (asyncio.run(work()) or "").encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        found = answer.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), found


def main(stream_file: str, bucket: str, endpoint: str, key: str, template: str, scratch: str) -> None:
    stream, folder = load(Path(stream_file)), Path(scratch)
    settings, away = S3Settings(bucket, endpoint=endpoint), S3Settings(bucket, endpoint=NOWHERE, timeout=0.2)
    asyncio.run(warm(settings))
    step, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        step += 1
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder)
        countdown = Countdown(step)
        status, _ = in_a_child(
            lambda c=countdown: served(CountedS3(settings, c), CountedFolder(folder, c), stream, key)
        )
        _, offline = in_a_child(lambda: served(S3Store(away), FolderStore(folder), stream, key))
        _, online = in_a_child(lambda: served(S3Store(settings), FolderStore(folder), stream, key))
        print(json.dumps({"step": step, "killed": status != 0, "offline": offline, "online": online}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
