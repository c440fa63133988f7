"""What systemd hears of a process: nothing before it is ready, no sign of life while it does not come round."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina
from fastapi import FastAPI

from driftline.errors import BusUnavailable, ClockUnset, DriftlineError, Standstill, Stuck
from driftline.metrics import Metrics
from driftline.service.app import ReadinessCheck, create_service
from driftline.service.supervision import is_wedged, supervised, watchdog_seconds

PATIENCE_S = 10


class Condition:
    """A condition of readiness that lacks what it is given."""

    def __init__(self, lacks: DriftlineError | None = None) -> None:
        self.lacks = lacks

    async def probe(self) -> None:
        if self.lacks is not None:
            raise self.lacks


class Systemd:
    """The other end of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    async def until(self, state: str) -> list[str]:
        """What is reported up to that."""
        heard: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            while state not in heard:
                heard.append((await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode())
        return heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    address = str(tmp_path / "notify")
    listening = Systemd(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    yield listening
    listening.close()


def app(**conditions: Condition) -> FastAPI:
    checks = [ReadinessCheck(name, condition.probe) for name, condition in conditions.items()]
    return create_service("x", "x", metrics=Metrics(), checks=checks)


async def test_it_is_ready_when_all_services_are(systemd: Systemd):
    bus, worker = Condition(), Condition(BusUnavailable("x has not joined its group"))
    async with supervised([app(bus=bus), app(forecasts=worker)]):
        assert await systemd.until("STATUS=starting: x has not joined its group") == [
            "STATUS=starting: x has not joined its group"
        ]
        worker.lacks = None
        heard = await systemd.until("WATCHDOG=1")
    assert heard[-3:] == ["READY=1", "STATUS=ready", "WATCHDOG=1"]
    assert (await systemd.until("STOPPING=1"))[-1] == "STOPPING=1"


async def test_a_broker_that_is_away_holds_a_start_up_only_so_long(systemd: Systemd):
    mqtt, worker = Condition(BusUnavailable("the MQTT broker is away")), Condition(Standstill("x is restoring"))
    async with supervised([app(mqtt=mqtt, forecasts=worker)], outage=0.3):
        heard = await systemd.until("WATCHDOG=1")
        assert heard[0] == "STATUS=starting: the MQTT broker is away"
        assert heard[-3:] == ["READY=1", "STATUS=the MQTT broker is away", "WATCHDOG=1"]


async def test_a_worker_of_ours_is_waited_for_at_a_start(systemd: Systemd):
    worker = Condition(Standstill("x is restoring"))
    async with supervised([app(forecasts=worker)], outage=0.0):
        for _ in range(3):
            assert "READY=1" not in await systemd.until("STATUS=starting: x is restoring")


async def test_a_check_that_fails_otherwise_is_logged(systemd: Systemd, caplog: pytest.LogCaptureFixture):
    async with supervised([app(bus=Condition(), odd=Condition(KeyError("odd")))]):  # type: ignore[arg-type]
        async for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_max=0.1):
            with attempt:
                assert "can no longer be reported" in caplog.text


async def test_a_worker_that_stands_still_gives_no_sign_of_life(systemd: Systemd):
    worker = Condition()
    async with supervised([app(bus=Condition(), forecasts=worker)]):
        await systemd.until("WATCHDOG=1")
        worker.lacks = Stuck("x has been standing still for 11 s")
        await systemd.until("STATUS=x has been standing still for 11 s")
        heard = await systemd.until("STATUS=x has been standing still for 11 s")
        assert "WATCHDOG=1" not in heard
        worker.lacks = None
        await systemd.until("WATCHDOG=1")


async def test_an_outage_of_the_bus_is_no_reason_to_restart(systemd: Systemd):
    bus, worker = Condition(), Condition()
    async with supervised([app(bus=bus, forecasts=worker)]):
        await systemd.until("WATCHDOG=1")
        bus.lacks, worker.lacks = BusUnavailable("the broker is away"), Stuck("x has been standing still for 11 s")
        await systemd.until("STATUS=the broker is away")
        await systemd.until("WATCHDOG=1")


async def test_a_machine_that_does_not_know_the_time_is_ready(systemd: Systemd):
    async with supervised([app(clock=Condition(ClockUnset("the clock shows 1970")))]):
        assert "READY=1" in await systemd.until("WATCHDOG=1")


async def test_nobody_is_told_where_nobody_asks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    before = asyncio.all_tasks()
    async with supervised([app()]):
        assert asyncio.all_tasks() == before


def test_the_watchdog_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_seconds() == float("inf")
    monkeypatch.delenv("WATCHDOG_PID")
    assert watchdog_seconds() == 30


def test_only_a_worker_that_is_stuck_for_no_other_reason_is_wedged():
    stuck = Stuck("x has been standing still for 11 s")
    assert is_wedged([stuck])
    assert is_wedged([stuck, ClockUnset("the clock shows 1970")])
    assert not is_wedged([])
    assert not is_wedged([stuck, BusUnavailable("the broker is away")])
