"""Asks services again and again how long they take to answer, as a process of its own: what else the bench does must
not be measured. `python -m tests.bench.probe FILE EVERY_S URL ...`; a line for each answer: URL, when, seconds."""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import aiohttp

TIMEOUT_S = 60
FIELDS = 3


async def ask(file: TextIO, every: float, urls: Sequence[str]) -> None:
    """Until the process is ended."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as client:
        await asyncio.gather(*(_ask(client, file, url, every) for url in urls))


async def _ask(client: aiohttp.ClientSession, file: TextIO, url: str, every: float) -> None:
    while True:
        began = time.time()
        try:
            async with client.get(url) as answer:
                await answer.read()
                answer.raise_for_status()
            file.write(f"{url} {began} {time.time() - began}\n")
        except (aiohttp.ClientError, TimeoutError):
            pass  # it was killed, or has not begun to listen
        await asyncio.sleep(every)


def answers(path: Path, begin: float, end: float) -> Mapping[str, Sequence[float]]:
    """By URL the seconds of all answers that were asked for in that time."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for line in path.read_text().splitlines():
        url, at, seconds = line.split() if len(line.split()) == FIELDS else ("", "0", "0")
        if begin <= float(at) < end:
            found[url].append(float(seconds))
    return found


if __name__ == "__main__":
    path, pause, *asked = sys.argv[1:]
    with Path(path).open("w", buffering=1) as opened:
        asyncio.run(ask(opened, float(pause), asked))
