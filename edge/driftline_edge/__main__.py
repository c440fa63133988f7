"""Runs the edge as a process."""

import logging
import os
import signal
import sys

from driftline.collector import uncollected

with uncollected():
    from driftline.errors import DriftlineError, Unavailable
    from driftline.names import EDGE, EDGE_SERVICES
    from driftline.service import allocator
    from driftline.service.logs import configure
    from driftline.service.run import serve
    from driftline_edge.app import create_services, leave_last, open_edge_bus
    from driftline_edge.settings import read_all

log = logging.getLogger(__name__)

WRONG, AWAY = 1, 3
"""Exit codes, as the command's: something is wrong; the same may succeed later."""


class _Restart:
    """Has the process end as by an interrupt, after which `serve` returns, and begin again in its own place: whoever
    watches it sees the same one."""

    def __init__(self) -> None:
        self.wanted = False

    def __call__(self) -> None:
        self.wanted = True
        os.kill(os.getpid(), signal.SIGINT)

    @staticmethod
    def execute() -> None:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very command


def main() -> None:
    """Serves until SIGTERM or SIGINT. Ends with a sentence where it can't begin."""
    restart = _Restart()
    allocator.set_up()
    # Arrow keeps memory for itself otherwise. It is imported later, when a window is written.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    try:
        settings = read_all()
        configure((EDGE, *EDGE_SERVICES), settings.edge.log_level)
        for doubt in settings.doubts():
            log.warning(doubt)
        bus = open_edge_bus(settings.edge)
        services = create_services(settings, bus, restart)
    except DriftlineError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(AWAY if isinstance(error, Unavailable) else WRONG)

    async def close() -> None:
        await leave_last(settings, bus)
        await bus.close()

    serve(services, close)
    if restart.wanted:
        restart.execute()


if __name__ == "__main__":
    main()
