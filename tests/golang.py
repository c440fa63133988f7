"""Programs that Go builds from a pinned version, once for all checkouts."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from driftline.errors import Unavailable


def go_program(name: str, package: str) -> str:
    """The path of a program that is called `name`: on the path, or built from package@version and kept.

    Raises Unavailable with the reason.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline" / "bin"
    found = shutil.which(name) or shutil.which(name, path=str(cache))
    if found is not None:
        return found
    if shutil.which("go") is None:
        raise Unavailable(f"neither {name} nor go, which could build it, is here")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        environment = os.environ | {"GOBIN": scratch}
        built = subprocess.run(["go", "install", package], check=False, env=environment, capture_output=True, text=True)
        if built.returncode != 0:
            raise Unavailable(f"{name} could not be built: {built.stderr[-200:]}")
        (program,) = Path(scratch).iterdir()
        program.rename(cache / name)
    return str(cache / name)
