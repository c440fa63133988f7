"""The health check of a container: asks this service's own /readyz. Exit code 0 when it is ready."""

import os
import sys
import urllib.error
import urllib.request

from driftline.names import PORTS

TIMEOUT_S = 4


def main() -> None:
    port = os.environ.get("DRIFTLINE_PORT") or PORTS[os.environ["DRIFTLINE_SERVICE"]]
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        # `docker inspect` shows what it is that is missing.
        sys.exit(error.read(1000).decode(errors="replace"))
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
