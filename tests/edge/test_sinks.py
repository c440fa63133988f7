"""The edge's process with a sink: killed while the broker is unavailable, it publishes what that has missed."""

from pathlib import Path

import pytest

from driftline.streams.definition_files import load
from tests.combiner.sinks.mosquitto import Mosquitto
from tests.conftest import ROOT
from tests.edge.edge_process import EdgeProcess
from tests.edge.test_process import KEYS, records, send

pytestmark = pytest.mark.process
ROUNDS = 60


async def test_an_edge_that_was_killed_publishes_what_the_broker_has_missed(tmp_path: Path):
    stream, broker, sinks = (
        load(ROOT / "streams" / "outdoor-temperature.yaml"),
        Mosquitto(tmp_path),
        tmp_path / "s.yaml",
    )
    sinks.write_text(f"sinks: {{home: {{type: mqtt, host: 127.0.0.1, port: {broker.port}}}}}\n")
    rows = records(stream, ROUNDS * KEYS)
    try:
        async with EdgeProcess(tmp_path, {"DRIFTLINE_SINKS": str(sinks)}) as edge:
            await edge.all_ready()
            await send(edge, stream, rows, 50)
            edge.port = edge.ports["combiner"]
            await edge.until(ready=True, **{"combiner-sink-home": f"the MQTT broker 127.0.0.1:{broker.port} is away"})
            edge.kill()
            await edge.ended()
            broker.start()
            await edge.__aenter__()
            for key in range(KEYS):
                newest = int(rows.t[ROUNDS * KEYS - KEYS + key])
                topic = f"driftline/{stream.name}/sensor-{key}/forecast"
                await broker.until_retained(topic, lambda content, t=newest: content["issued"] == t)
            content = await broker.retained(f"driftline/{stream.name}/sensor-0/forecast")
            skills = [value["skill"] for value in content["forecasts"]]
            assert any(isinstance(skill, float) for skill in skills), skills
            (home,) = (await edge.get("/v1/sinks")).json()
            assert (home["state"], home["error"]) == ("ok", None)
            assert home["sent"] > 0
            await edge.end()
    finally:
        broker.kill()
