"""Programs that Go builds from a pinned version, once for all checkouts."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from driftline.errors import Unavailable

TELEGRAF = "github.com/influxdata/telegraf@v1.32.0"
PLUGINS = "custom,inputs.tail,outputs.influxdb_v2,outputs.influxdb,parsers.influx"


def telegraf() -> str:
    """The path of a Telegraf with few plugins. It is built inside its own source, whose go.sum then holds: some of its
    modules are in no list of checksums. Raises Unavailable with the reason."""
    cache, kept = _cache("telegraf")
    if kept is not None:
        return kept
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        source = Path(scratch) / "source"
        listed = _go("mod", "download", "-json", TELEGRAF, within=Path(scratch))
        shutil.copytree(json.loads(listed)["Dir"], source, copy_function=shutil.copyfile)
        _go("build", "-tags", PLUGINS, "-o", "../telegraf", "./cmd/telegraf", within=source)
        (Path(scratch) / "telegraf").rename(cache / "telegraf")
    return str(cache / "telegraf")


def _cache(name: str) -> tuple[Path, str | None]:
    """Where programs are kept, and the one that is called `name`, if it is here. Raises Unavailable."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline" / "bin"
    kept = shutil.which(name) or shutil.which(name, path=str(cache))
    if kept is None and shutil.which("go") is None:
        raise Unavailable(f"neither {name} nor go, which could build it, is here")
    cache.mkdir(parents=True, exist_ok=True)
    return cache, kept


def _go(*command: str, within: Path) -> str:
    """What it says. Raises Unavailable."""
    done = subprocess.run(["go", *command], check=False, cwd=within, capture_output=True, text=True)
    if done.returncode != 0:
        raise Unavailable(f"telegraf could not be built: {done.stderr[-200:]}")
    return done.stdout


def is_kept(name: str) -> bool:
    """Whether a program is here without being built."""
    return _cache(name)[1] is not None


def go_program(name: str, package: str) -> str:
    """The path of a program that is called `name`: on the path, or built from package@version and kept.

    Raises Unavailable with the reason.
    """
    cache, kept = _cache(name)
    if kept is not None:
        return kept
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        environment = os.environ | {"GOBIN": scratch}
        built = subprocess.run(["go", "install", package], check=False, env=environment, capture_output=True, text=True)
        if built.returncode != 0:
            raise Unavailable(f"{name} could not be built: {built.stderr[-200:]}")
        (program,) = Path(scratch).iterdir()
        program.rename(cache / name)
    return str(cache / name)
