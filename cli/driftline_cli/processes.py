"""Processes that go on after the command that started them: a pid file and a log each, ended by their id alone."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import stamina

STOP_S = 20.0


class StillRunningError(Exception):
    """A process that has not ended yet."""


def start(folder: Path, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Starts a process of its own session, its output in `folder`/NAME.log, its id in `folder`/NAME.pid."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    (folder / f"{name}.pid").write_text(str(process.pid))
    return process.pid


def running(folder: Path, name: str) -> int | None:
    """The process's id, while it runs."""
    try:
        pid = int((folder / f"{name}.pid").read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else pid


def stop(folder: Path, name: str) -> None:
    """Ends the process with SIGTERM, and with SIGKILL when it does not obey; nothing happens when there is none."""
    pid = running(folder, name)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        try:
            _gone(folder, name)
        except StillRunningError:
            os.kill(pid, signal.SIGKILL)
    (folder / f"{name}.pid").unlink(missing_ok=True)


@stamina.retry(on=StillRunningError, attempts=None, timeout=STOP_S, wait_initial=0.05, wait_max=0.2, wait_jitter=0.05)
def _gone(folder: Path, name: str) -> None:
    if running(folder, name) is not None:
        raise StillRunningError(name)
