"""The health check of a container: asks /readyz of what runs in it. Exit code 0 when all of it is ready."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

from driftline.names import EDGE, EDGE_SERVICES, PORTS

TIMEOUT_S = 4


def main() -> None:
    for port in ports():
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=TIMEOUT_S).close()
        except urllib.error.HTTPError as error:
            # `docker inspect` shows what it is that is missing.
            sys.exit(error.read(1000).decode(errors="replace"))
        except OSError as error:
            sys.exit(str(error))


def ports() -> Iterator[str]:
    """Where the container's service listens; of the edge those of all three in it."""
    service = os.environ["DRIFTLINE_SERVICE"]
    if service != EDGE:
        yield os.environ.get("DRIFTLINE_PORT") or str(PORTS[service])
        return
    for name in EDGE_SERVICES:
        yield os.environ.get(f"DRIFTLINE_{name.upper()}_PORT") or str(PORTS[name])


if __name__ == "__main__":
    main()
