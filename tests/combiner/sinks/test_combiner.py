"""A combiner with sinks of which one gets nothing through: it blends, is ready, and says so."""

from pathlib import Path

import httpx
import stamina

from driftline.bus.memory import MemoryBus
from driftline.messages import ALERTS, FORECASTS, Forecast
from driftline_combiner.app import create_app
from driftline_combiner.settings import CombinerSettings
from tests.combiner.sinks.blends import BEGIN, TANK, alert
from tests.combiner.sinks.test_webhook import Receiver
from tests.serving import served

PATIENCE_S = 60


async def test_a_sink_that_gets_nothing_through_holds_up_neither_blends_nor_another_sink(tmp_path: Path):
    receiver, bus, sinks, died = Receiver(), MemoryBus(), tmp_path / "sinks.yaml", []
    async with served(receiver.app()) as address:
        sinks.write_text(
            "sinks:\n  home: {type: mqtt, host: 127.0.0.1, port: 1}\n"
            f"  hook: {{type: webhook, url: 'http://{address}/hook', begin: earliest}}\n"
        )
        app = create_app(CombinerSettings(sinks=sinks), bus, streams={"tank": TANK}, on_death=lambda *_: died.append(1))
        async with served(app) as combiner, httpx.AsyncClient(base_url=f"http://{combiner}", timeout=60) as client:
            await bus.publish(
                FORECASTS, [Forecast("tank", "k1", BEGIN, 1.0, [1, 6], {"persistence": [1.0] * 2}, {}, 0.0)]
            )
            await bus.publish(ALERTS, [alert(7, "gap")])
            await until_told(client)
            assert [body["key"] for body in receiver.bodies] == ["k7"]
            assert (await client.get("/v1/forecasts/tank/k1")).status_code == 200
            ready = (await client.get("/readyz")).json()
            assert ready["ready"]
            assert "is away" in ready["checks"]["combiner-sink-home"]
            assert ready["checks"]["combiner-sink-hook"] == "ok"
            assert 'driftline_sink_failing{sink="home"} 1.0' in (await client.get("/metrics")).text.splitlines()
    assert died == []


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_max=0.2)
async def until_told(client: httpx.AsyncClient) -> None:
    home, hook = (await client.get("/v1/sinks")).json()
    assert (home["name"], home["type"], home["state"], home["lag"]) == ("home", "mqtt", "unavailable", 1)
    assert "is away" in home["error"]
    assert (hook["name"], hook["type"], hook["state"], hook["sent"]) == ("hook", "webhook", "ok", 1)
