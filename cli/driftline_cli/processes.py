"""Processes that go on after the command that started them: a pid file and a log each, ended by their id alone."""

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import stamina

STOP_S = 20.0


class StillRunningError(Exception):
    """A process that has not ended yet."""


def start(folder: Path, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Starts a process of its own session, its output in `folder`/NAME.log, its id in `folder`/NAME.pid."""
    folder.mkdir(parents=True, exist_ok=True)
    log = str(folder / f"{name}.log")
    pid = os.posix_spawnp(
        command[0],
        list(command),
        {**os.environ, **(environment or {})},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    (folder / f"{name}.pid").write_text(str(pid))
    return pid


def running(folder: Path, name: str) -> int | None:
    """The process's id, while it runs."""
    try:
        pid = int((folder / f"{name}.pid").read_text())
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
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
