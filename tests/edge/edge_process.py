"""The edge as a process of its own, and what lies on its bus when it has ended."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.messages import BLENDS, EDGE, FORECASTS, RECORDS, Blend, M, Record, Topic
from driftline.names import EDGE_SERVICES
from driftline_cli.broker import free_ports
from tests.started import Started


class EdgeProcess(Started):
    """`python -m driftline_edge`, on free ports, with all that it keeps in folder/edge."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.ports = dict(zip(EDGE_SERVICES, free_ports(len(EDGE_SERVICES)), strict=True))
        self.data = folder / "edge"
        ports = {f"DRIFTLINE_{service.upper()}_PORT": str(port) for service, port in self.ports.items()}
        ours = {"DRIFTLINE_DATA": str(self.data), "DRIFTLINE_PORT": "", "DRIFTLINE_BROKERS": ""}
        super().__init__("edge", folder, ours | ports | (environment or {}))
        self.port = self.ports["ingest"]

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    async def all_ready(self) -> None:
        for port in self.ports.values():
            self.port = port
            await self.ready()
        self.port = self.ports["ingest"]

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)

    async def end(self) -> int:
        """Its exit code after SIGTERM."""
        self._process.terminate()
        return await self.ended()


class Left:
    """What an edge that has ended has left on its bus."""

    def __init__(self, data: Path) -> None:
        self._data = data

    async def _read(self, topic: Topic[M]) -> list[M]:
        bus = EmbeddedBus(EmbeddedSettings(self._data / "bus"))
        try:
            return [envelope.value for envelope in await bus.read(topic)]
        finally:
            await bus.close()

    async def forecasts(self) -> Counter[tuple[str, int]]:
        """How often there is one, by key and time."""
        return Counter((forecast.key, forecast.t) for forecast in await self._read(FORECASTS))

    async def id(self) -> str:
        (own, *_) = await self._read(EDGE)
        return own.id

    async def records(self) -> list[Record]:
        return await self._read(RECORDS)

    async def blends(self) -> list[Blend]:
        return await self._read(BLENDS)


async def killed_at(edge: EdgeProcess, moments: list[float], over: asyncio.Event) -> int:
    """Kills the process so many seconds after it is ready, time after time until it is `over`; returns how often."""
    kills = 0
    for moment in moments:
        await edge.ready()
        try:
            async with asyncio.timeout(moment):
                await over.wait()
                return kills
        except TimeoutError:
            edge.kill()
            await edge.ended()
            await edge.__aenter__()
            kills += 1
    return kills
