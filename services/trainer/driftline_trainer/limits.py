"""What the unpacking child is held to by the system; imports Arrow as late as its allocator has to be chosen."""

import os
import resource
from pathlib import Path

STATUS = Path("/proc/self/status")
OOM_SCORE = Path("/proc/self/oom_score_adj")


def begin(memory: int, niceness: int = 0) -> None:
    """In the child: bounds its memory to `memory` bytes beyond what its libraries take."""
    os.nice(niceness)
    # Arrow's own allocators reserve a gibibyte at once.
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    from driftline_trainer import unpacking  # noqa: F401, PLC0415 - after the choice, and before the limit

    _at_most(resource.RLIMIT_DATA, _taken() + memory)
    if OOM_SCORE.exists():
        # Where the machine has less than that, this process goes, and not the one that it works for.
        OOM_SCORE.write_text("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def for_seconds(seconds: int) -> None:
    """Bounds the processor time of what comes next; who goes on after it is killed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _at_most(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds)


def _at_most(what: int, bound: int) -> None:
    """Whoever started this process may have set a limit that is lower."""
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))


def _taken() -> int:
    """Bytes that count for the limit already."""
    if not STATUS.exists():
        return 0
    said = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(said["VmData"].split()[0]) * 1024
