"""Processes that go on after the command that started them: a pid file and a log each, ended by their id alone.

The file says which process had the id, since the next one that gets it, after a reboot, say, is not ours to end.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import stamina

from driftline.errors import Unavailable

STOP_S = 20.0
LOG_S = 3.0
ROTATION = Path(__file__).with_name("rotation.py")


class StillRunningError(Exception):
    """A process that has not ended yet."""


def start(folder: Path, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Starts a process of its own session, its output in `folder`/NAME.log, its id in `folder`/NAME.pid.

    What it says goes through a second process that keeps the log at a bounded size, and ends with the first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    try:
        _keep_log(folder, name, reading)
        pid = os.posix_spawnp(
            command[0],
            list(command),
            {**os.environ, **(environment or {})},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, writing, 1),
                (os.POSIX_SPAWN_DUP2, writing, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(reading)
        os.close(writing)
    note(folder, name, pid)
    return pid


def note(folder: Path, name: str, pid: int) -> None:
    """Writes the pid file of a process that has just begun."""
    with suppress(OSError, psutil.Error):  # it may have ended by now
        (folder / f"{name}.pid").write_text(f"{pid} {_birth(pid)}")


def said(folder: Path, name: str) -> str:
    """The newest log of a process that has ended, once it is whole."""
    _log_whole(folder, name)
    return (folder / f"{name}.log").read_text(errors="replace")


def _keep_log(folder: Path, name: str, reading: int) -> None:
    log = str(folder / f"{name}.log")
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", str(ROTATION), log],
        dict(os.environ),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, reading, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    note(folder, f"{name}.log", pid)


def _log_whole(folder: Path, name: str) -> None:
    """Waits for the log of a process that has ended; one whose own children live on may say more."""
    with suppress(StillRunningError):
        _gone(folder, f"{name}.log", LOG_S)


def running(folder: Path, name: str) -> int | None:
    """The process's id, while it runs."""
    try:
        number, birth = (folder / f"{name}.pid").read_text().split()
        pid = int(number)
        is_ours = _birth(pid) == birth
        if is_ours and psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            is_ours = False
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    except (OSError, ValueError, psutil.Error):
        return None
    return pid if is_ours else None


def _birth(pid: int) -> str:
    """What two processes of one id never share. On Linux by the boot and its own clock: a clock that is set moves what
    psutil gives."""
    if not sys.platform.startswith("linux"):
        return str(psutil.Process(pid).create_time())
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    # Behind the name, which may hold anything, the 20th field is when it began.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return f"{boot}/{fields[19]}"


def pid_of(folder: Path, name: str) -> int:
    """As `running`. Raises Unavailable where it runs no more."""
    pid = running(folder, name)
    if pid is None:
        raise Unavailable(f"{name} does not run; its log is {folder / name}.log")
    return pid


def kill(folder: Path, name: str) -> None:
    """Ends the process at once, as a crash would; nothing happens when there is none."""
    pid = running(folder, name)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        _gone(folder, name, STOP_S)


def stop(folder: Path, name: str) -> None:
    """Ends the process with SIGTERM, and with SIGKILL when it does not obey; nothing happens when there is none."""
    pid = running(folder, name)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        try:
            _gone(folder, name, STOP_S)
        except StillRunningError:
            kill(folder, name)
        _log_whole(folder, name)
    (folder / f"{name}.log.pid").unlink(missing_ok=True)
    (folder / f"{name}.pid").unlink(missing_ok=True)


def _gone(folder: Path, name: str, seconds: float) -> None:
    """Returns when the process has ended. Raises StillRunningError after so long."""
    for attempt in stamina.retry_context(
        on=StillRunningError, attempts=None, timeout=seconds, wait_initial=0.05, wait_max=0.2, wait_jitter=0.05
    ):
        with attempt:
            if running(folder, name) is not None:
                raise StillRunningError(name)
