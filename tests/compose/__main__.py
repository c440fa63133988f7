"""Builds the images and runs the tests of the deployments on a container engine: what `make compose-test` does.

python -m tests.compose [what pytest is to run, and its options]

Where there is no engine and none can be had, it says so in a line: in CI that is no failure, elsewhere it is one.
"""

import os
import subprocess
import sys

import stamina

from tests.compose import images
from tests.compose.engine import engine
from tests.compose.unfit import Unfit


def tests(inside: list[str], chosen: list[str]) -> int:
    command = [*inside, sys.executable, "-m", "pytest", *(chosen or ["tests/compose"])]
    return subprocess.run(command, check=False, env=os.environ | {"DRIFTLINE_COMPOSE": "1"}).returncode


def main() -> int:
    # Waiting for an engine is nothing to tell.
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        found = engine()
        with found.emulating() as emulating:
            with found.building():
                images.everything(emulating=emulating)
            with found.running() as inside:
                return tests(inside, sys.argv[1:])
    except Unfit as reason:
        print(f"compose-test: not run here: {reason}", flush=True)  # noqa: T201
        return 0 if os.environ.get("CI") else 1


if __name__ == "__main__":
    sys.exit(main())
