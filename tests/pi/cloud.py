"""A trainer's door by HTTPS, as a program: `python -m tests.pi.cloud FOLDER`.

It prints where it is and a join token, and has definitions in FOLDER/streams, its store in FOLDER/store and its own
authority in FOLDER/ca.pem.
"""

import asyncio
import json
import sys
from pathlib import Path

from driftline.streams.definition_files import load
from tests.conftest import ROOT
from tests.fleet.cloud import Cloud
from tests.security.authority import Authority


async def serve(folder: Path) -> None:
    """Until it is terminated."""
    stream = load(ROOT / "streams" / "outdoor-temperature.yaml")
    async with Cloud.opened(folder, stream, authority=Authority(folder)) as cloud:
        print(json.dumps({"url": cloud.url, "token": await cloud.token()}), flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
