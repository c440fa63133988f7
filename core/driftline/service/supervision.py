"""Reports to systemd, where it asks for that: that the process is ready, and that it still comes round (sd_notify(3)).

The process counts as wedged while its event loop does not turn, and while a worker stands still although the bus
answers. An outage of the bus or the store is no reason to restart: it would be there afterwards, too.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI

from driftline.errors import ClockUnset, Standstill, Stuck, Unavailable
from driftline.service.app import ReadinessCheck, fault

log = logging.getLogger(__name__)

STARTING_S = 0.1
"""Seconds between two looks at whether it is ready."""
OUTAGE_S = 30.0
"""Seconds after which a start no longer waits for a broker that is away: its unit would be restarted for nothing."""
LOOK_S = 10.0
"""Seconds between two looks where no watchdog asks for fewer."""


@asynccontextmanager
async def supervised(apps: Sequence[FastAPI], outage: float = OUTAGE_S) -> AsyncIterator[None]:
    """Reports on these services meanwhile. outage: see OUTAGE_S."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        yield
        return
    checks = [check for app in apps for check in app.state.checks if check.needed]
    reporting = asyncio.create_task(_report(address, checks, outage), name="supervision")
    try:
        yield
    finally:
        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)
        _notify(address, "STOPPING=1")


async def _report(address: str, checks: Sequence[ReadinessCheck], outage: float) -> None:
    try:
        await _start(address, checks, asyncio.get_running_loop().time() + outage)
        await _live(address, checks)
    except Exception:
        # Nobody awaits it before the end, and the watchdog would end the process without a word.
        log.exception("it can no longer be reported to systemd how the process does")
        raise


async def _start(address: str, checks: Sequence[ReadinessCheck], until: float) -> None:
    """Returns when all is there, or from `until` on when what is missing is not here."""
    while faults := without_clock(await _missing(checks)):
        if asyncio.get_running_loop().time() >= until and not all(isinstance(one, Standstill) for one in faults):
            break
        _notify(address, f"STATUS=starting: {faults[0]}")
        await asyncio.sleep(STARTING_S)
    _notify(address, "READY=1")


async def _live(address: str, checks: Sequence[ReadinessCheck]) -> None:
    pause = min(LOOK_S, watchdog_seconds() / 3)
    while True:
        missing = await _missing(checks)
        _notify(address, f"STATUS={missing[0] if missing else 'ready'}")
        if is_wedged(missing):
            log.error("it does not come round, so systemd will restart it: %s", missing[0])
        else:
            _notify(address, "WATCHDOG=1")
        await asyncio.sleep(pause)


def watchdog_seconds() -> float:
    """Within how many systemd expects to hear of us; infinite where it does not."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not microseconds.isdecimal():
        return float("inf")
    return int(microseconds) / 1e6


def is_wedged(missing: Sequence[Unavailable]) -> bool:
    """Whether workers stand still, and nothing else is missing that would explain it."""
    faults = without_clock(missing)
    return bool(faults) and all(isinstance(fault, Stuck) for fault in faults)


def without_clock(missing: Sequence[Unavailable]) -> list[Unavailable]:
    """A machine may learn the time long after it has started, and no restart teaches it."""
    return [reason for reason in missing if not isinstance(reason, ClockUnset)]


async def _missing(checks: Sequence[ReadinessCheck]) -> list[Unavailable]:
    return [reason for reason in await asyncio.gather(*map(fault, checks)) if reason is not None]


def _notify(address: str, state: str) -> None:
    """One datagram; an address that begins with @ has no file. What systemd does not take is not worth an end."""
    name = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)
        try:
            sender.connect(name)
            sender.sendall(state.encode())
        except OSError as error:
            log.warning("could not report %s to systemd: %s", state, error)
