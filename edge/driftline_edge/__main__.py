"""Runs the edge as a process."""

import logging
import os
import sys

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


def main() -> None:
    """Serves until SIGTERM or SIGINT. Ends with a sentence where it can't begin."""
    allocator.set_up()
    # Arrow keeps memory for itself otherwise. It is imported later, when a window is written.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    try:
        settings = read_all()
        configure((EDGE, *EDGE_SERVICES), settings.edge.log_level)
        for doubt in settings.doubts():
            log.warning(doubt)
        bus = open_edge_bus(settings.edge)
        services = create_services(settings, bus)
    except DriftlineError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(AWAY if isinstance(error, Unavailable) else WRONG)

    async def close() -> None:
        await leave_last(settings, bus)
        await bus.close()

    serve(services, close)


if __name__ == "__main__":
    main()
