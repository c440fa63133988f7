"""What is made once for a run, however many workers it has: by the first who wants it, ended with the run."""

import fcntl
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from driftline.errors import Unavailable
from driftline_cli import processes

T = TypeVar("T")


class Shared:
    """A folder of the whole run. All that is started in it, by `driftline_cli.processes`, ends with the run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder

    def once(self, name: str, make: Callable[[Path], T]) -> T:
        """What `make` gives, in a folder of that name: the first caller makes it, the others wait and load it.

        Raises Unavailable with the reason, which is kept, too.
        """
        place, kept = self._folder / name, self._folder / f"{name}.pickle"
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                # It may be there: of a worker that died in the middle.
                place.mkdir(exist_ok=True)
                kept.write_bytes(pickle.dumps(_made(make, place)))
        found = pickle.loads(kept.read_bytes())  # noqa: S301 - this run wrote it
        if isinstance(found, Unavailable):
            raise found
        return found

    def end(self) -> None:
        """Ends every process that was started in it."""
        for pid_file in sorted(self._folder.rglob("*.pid")):
            processes.stop(pid_file.parent, pid_file.stem)


def _made(make: Callable[[Path], T], place: Path) -> T | Unavailable:
    try:
        return make(place)
    except Unavailable as error:
        return error
