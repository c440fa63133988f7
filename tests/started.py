"""One service as a process of its own, as a person would start it."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, Self

import httpx
import stamina

from driftline_cli.broker import free_port
from tests.conftest import ROOT

PATIENCE_S = 120


class Started:
    """`python -m driftline_<service>` with these variables and none of this process's own settings."""

    def __init__(self, service: str, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self._service = service
        self._log = folder / f"{service}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTLINE_")}
        self._environment = inherited | {
            "DRIFTLINE_BROKERS": f"127.0.0.1:{free_port()}",
            "DRIFTLINE_STREAMS": str(ROOT / "streams"),
            "DRIFTLINE_STORE": str(folder / "store"),
            "DRIFTLINE_CACHE": str(folder / "cache"),
            "DRIFTLINE_PORT": str(self.port),
            **(environment or {}),
        }
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def __aenter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", f"driftline_{self._service}"),
                env=self._environment,
                cwd=self._log.parent,
                stdout=log,
                stderr=log,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            await self.ended()

    async def ended(self) -> int:
        """Its exit code; negative for a signal."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._process.wait()

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=20) as client:
            return await client.get(path)

    async def readiness(self) -> dict[str, Any]:
        """What /readyz says, as soon as it says anything."""
        async for attempt in stamina.retry_context(on=httpx.HTTPError, attempts=None, timeout=PATIENCE_S, wait_max=0.3):
            with attempt:
                if self._process.returncode is not None:
                    raise AssertionError(self.log)
                return (await self.get("/readyz")).json()
        raise AssertionError

    async def until(self, *, ready: bool, **checks: str) -> dict[str, str]:
        """Its checks, once it is ready or not, and once those that are named begin as they are given."""
        async for attempt in stamina.retry_context(
            on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.5
        ):
            with attempt:
                found = await self.readiness()
                assert found["ready"] == ready, found
                for name, beginning in checks.items():
                    assert found["checks"][name].startswith(beginning), found
        return found["checks"]

    async def ready(self) -> None:
        await self.until(ready=True)

    async def says(self, words: str) -> str:
        """The line of its log that holds the words, as soon as there is one."""
        async for attempt in stamina.retry_context(
            on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.5
        ):
            with attempt:
                lines = [line for line in self.log.splitlines() if words in line]
                assert lines, f"nothing about {words!r} in: {self.log[-3000:]}"
        return lines[0]
