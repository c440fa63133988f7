"""Builds the images and runs the tests of the deployments on a container engine: what `make compose-test` does.

python -m tests.compose [what pytest is to run, and its options]
python -m tests.compose --smoke

The latter is what `make compose-smoke` does: one deployment on this machine's own architecture, from nothing to blends,
a retraining and a swap.

Where there is no engine and none can be had, it says so in a line: in CI that is no failure, elsewhere it is one.
"""

import os
import subprocess
import sys

import stamina

from tests.compose import images
from tests.compose.engine import engine
from tests.compose.unfit import Unfit

SMOKE = "tests/compose/test_edge_centric.py::test_from_nothing_to_blends_a_retraining_and_a_swap"


def tests(inside: list[str], chosen: list[str]) -> int:
    # Images are built and machines emulated: more than the minutes of other tests.
    command = [*inside, sys.executable, "-m", "pytest", "--timeout=3600", *(chosen or ["tests/compose"])]
    return subprocess.run(command, check=False, env=os.environ | {"DRIFTLINE_COMPOSE": "1"}).returncode


def smoke() -> int:
    """One deployment, with the images that it needs and no others."""
    found = engine()
    with found.building():
        images.of_edge_centric()
    with found.running() as inside:
        return tests(inside, [SMOKE])


def everything(chosen: list[str]) -> int:
    found = engine()
    with found.emulating() as emulating:
        with found.building():
            images.everything(emulating=emulating)
        with found.running() as inside:
            return tests(inside, chosen)


def main() -> int:
    # Waiting for an engine is nothing to tell.
    stamina.instrumentation.set_on_retry_hooks([])
    is_smoke = sys.argv[1:] == ["--smoke"]
    try:
        return smoke() if is_smoke else everything(sys.argv[1:])
    except Unfit as reason:
        name = "compose-smoke" if is_smoke else "compose-test"
        print(f"{name}: not run here: {reason}", flush=True)  # noqa: T201
        return 0 if os.environ.get("CI") else 1


if __name__ == "__main__":
    sys.exit(main())
