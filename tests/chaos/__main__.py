"""`make chaos`: kills and pauses everything under load, and says in a table whether anything was lost.

CHAOS_S: seconds of it (300). CHAOS_SEED: of all that is random; printed, and drawn where it is not said.
CHAOS_DELIVERY: at_least_once, exactly_once, or both one after the other. Exit code 1 when anything is wrong.
"""

import asyncio
import logging
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import stamina
from rich.console import Console

from tests.chaos.fleet import NotReady
from tests.chaos.outcome import Outcome, table
from tests.chaos.run import chaos
from tests.chaos.settings import ChaosSettings, read

INTERRUPTED = 130
console = Console()


async def _run(settings: ChaosSettings, folder: Path) -> Outcome:
    task = asyncio.current_task()
    assert task is not None
    # Asked to end, it ends what it has started first.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await chaos(settings, folder)


def report(outcome: Outcome, folder: Path) -> None:
    console.print(table(outcome))
    for restart in outcome.restarts:
        console.print(str(restart), markup=False, soft_wrap=True)
    for complaint in outcome.complaints():
        console.print(complaint, markup=False, soft_wrap=True)
    if not outcome.passed or outcome.restarts:
        console.print(f"logs: {folder}; again: CHAOS_SEED={outcome.seed} make chaos", markup=False, soft_wrap=True)


def main() -> int:
    # Trying again is what is done here all the time.
    stamina.instrumentation.set_on_retry_hooks([])
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    settings = read()
    folder = Path(tempfile.mkdtemp(prefix="driftline-chaos-"))
    console.print(f"seed {settings.seed}, {settings.seconds:g} s, logs in {folder}", markup=False, soft_wrap=True)
    try:
        outcome = asyncio.run(_run(settings, folder))
    except NotReady as error:
        console.print(f"chaos could not begin: {error}\nlogs: {folder}", markup=False, soft_wrap=True)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    report(outcome, folder)
    if outcome.passed and not outcome.restarts:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if outcome.passed else 1


if __name__ == "__main__":
    sys.exit(main())
