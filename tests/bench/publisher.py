"""Publishes models one after the other, in a process of its own: see `tests.bench.swap`.

Prints, for each, its version and when its pointer was written.
"""

import asyncio
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import msgspec

from driftline.models.signing import Signer, read
from driftline.store.s3 import S3Settings, S3Store
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline.versions.releases import current
from driftline_trainer.fit import Trained
from driftline_trainer.publish import publish

EVERY_S = 0.4


def main(stream_file: str, bucket: str, endpoint: str, prefix: str, key: str, models: str, count: str) -> None:
    trained = msgspec.msgpack.decode(Path(models).read_bytes(), type=list[Trained])
    settings = S3Settings(bucket, prefix=prefix, endpoint=endpoint)
    asyncio.run(send(settings, load(Path(stream_file)), Signer(read(Path(key))), trained, int(count)))


async def send(
    settings: S3Settings, stream: StreamDefinition, signer: Signer, trained: list[Trained], count: int
) -> None:
    store = S3Store(settings)
    for each in islice(cycle(trained), count):
        began = time.perf_counter()
        before = await current(store, stream.name, "batch")
        made = await publish(
            store, stream, "batch", each, signer=signer, before=before, parent=None, windows={}, now=time.time()
        )
        print(made.version, time.time(), flush=True)  # noqa: T201
        await asyncio.sleep(max(0.0, began + EVERY_S - time.perf_counter()))
    await store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
