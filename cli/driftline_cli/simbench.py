"""Load profiles of one year with a weekly course: streams for `driftline accuracy`, from the Python package `simbench`.

The package is downloaded by the command's own Python's pip, pinned by its hash; only the profiles' file is kept, in a
cache. The data are under the Open Database License 1.0 and are no part of this repository.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from driftline.arrays import Floats, Ints
from driftline.errors import InvalidInput, Unavailable
from driftline.streams.definition import SINGLE_KEY, StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows

VERSION = "1.6.3"
REQUIREMENT = f"simbench=={VERSION} --hash=sha256:8b48bdab2445286a96649eb18bb09476d000a0e212fd57fdba83399df54af4de"
"""The wheel's."""
TABLE = Path("simbench/networks/1-complete_data-mixed-all-0-sw/LoadProfile.csv")
CACHED = f"simbench-{VERSION}-LoadProfile.csv"
PROFILES = {
    "household-a": "H0-A_pload",
    "household-c": "H0-C_pload",
    "commercial-general": "G0-M_pload",
    "commercial-workdays": "G1-B_pload",
    "commercial-weekends": "G6-A_pload",
    "farm-dairy": "L1-A_pload",
    "farm-other": "L2-M_pload",
    "heat-pump": "Soil_Alternative_2_pload",
}
"""Columns by stream, of all kinds that there are."""
ZONE = "Europe/Berlin"
FIRST_T = int(datetime(2015, 12, 31, 23, tzinfo=UTC).timestamp() * 1000)
"""The table begins with the local year; milliseconds since the epoch."""
PERIOD_MS = 900_000
RECORDS = 366 * 96
HORIZON = (1, 24, 96)
"""A quarter of an hour, 6 hours and a day."""
HISTORY = 0.6
"""The share of the year that is learned from."""
DEFINITION = """
name: {name}
description: Active power of simbench's load profile {column}, as a share of its peak
time: {{column: time, zone: {zone}, period: 15min}}
target: {column}
horizon: {horizon}
"""
"""Everything else is at its default."""


def definitions(only: Collection[str]) -> list[StreamDefinition]:
    """The streams of those names."""
    return [_definition(name) for name in PROFILES if name in only]


def _definition(name: str) -> StreamDefinition:
    text = DEFINITION.format(name=name, column=PROFILES[name], zone=ZONE, horizon=list(HORIZON))
    return parse(text, f"load profile {name}")


def cache_folder() -> Path:
    """Where downloads are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline"


def table(cache: Path) -> Path:
    """The file of all profiles, downloaded if it is not there yet. Raises Unavailable."""
    kept = cache / CACHED
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _install(Path(scratch))
            # Whole or not at all, whatever interrupts it.
            (Path(scratch) / TABLE).replace(kept)
    return kept


def _install(folder: Path) -> None:
    """Puts the package into a folder of its own, without what it needs to run. Raises Unavailable."""
    requirements = folder / "requirements.txt"
    requirements.write_text(REQUIREMENT, encoding="utf-8")
    options = ["install", "-q", "--no-deps", "--require-hashes", "--target", str(folder), "-r", str(requirements)]
    done = subprocess.run([*_client(), *options], check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode or not (folder / TABLE).exists():
        reason = next(iter(done.stderr.strip().splitlines()), f"found no {TABLE} in it")
        raise Unavailable(
            f"can't download simbench {VERSION}, which holds the load profiles: {reason}; try again, or name streams "
            "that are here with --only"
        )


def _client() -> list[str]:
    """pip, or uv where this Python has none."""
    if find_spec("pip"):
        return [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if find_spec("uv"):
        return [sys.executable, "-m", "uv", "pip"]
    raise Unavailable(f"can't download simbench {VERSION}: found neither pip nor uv, expected one of them")


def read(file: Path, streams: Collection[StreamDefinition]) -> list[Rows]:
    """Every stream's records. Raises InvalidInput for another table than is expected."""
    try:
        with file.open(encoding="utf-8") as lines:
            names = lines.readline().strip().split(";")
            wanted = [names.index(stream.target) for stream in streams]
            values: Floats = np.loadtxt(lines, delimiter=";", usecols=wanted, ndmin=2)
        with file.open(encoding="utf-8") as lines:
            times = [line.partition(";")[0] for line in lines][1:]
    except ValueError as error:
        raise InvalidInput(f"{file}: {error}; delete it, and it is downloaded again") from error
    t = FIRST_T + PERIOD_MS * np.arange(RECORDS, dtype=np.int64)
    if times != local_times(t):
        raise InvalidInput(f"{file}: found other times than those of 2016; delete it, and it is downloaded again")
    keys = np.full(RECORDS, SINGLE_KEY)
    return [Rows(keys, t, values[:, [index]]) for index in range(len(streams))]


def local_times(t: Ints) -> list[str]:
    """As the table writes them: local, with the hour that is repeated in October twice. t: milliseconds."""
    zone = ZoneInfo(ZONE)
    return [datetime.fromtimestamp(moment / 1000, zone).strftime("%d.%m.%Y %H:%M") for moment in t.tolist()]


def split(rows: Rows) -> tuple[Rows, Rows]:
    """What is learned from, and what is streamed."""
    begin = int(HISTORY * len(rows))
    return rows.take(slice(0, begin)), rows.take(slice(begin, None))
