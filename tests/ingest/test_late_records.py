"""Late records from the door to the forecasts, and to what a trainer reads."""

import json
from pathlib import Path

import httpx
import pytest

from driftline.bus.memory import MemoryBus
from driftline.bus.port import Envelope
from driftline.messages import Blend, Forecast
from driftline.store.folder import FolderStore
from driftline.streams import tables
from driftline.streams.definition_files import parse
from driftline.streams.rows import concatenate
from driftline.worker.keyed import KeyedStep
from driftline_combiner.step import BlendStep
from driftline_inference.step import ForecastStep
from driftline_ingest.app import create_app
from driftline_ingest.archive import ArchiveStep
from driftline_ingest.settings import IngestSettings
from driftline_ingest.windows import RecordWindows
from tests.ingest.test_door import published

STREAM = parse(
    "name: a\ntime: {column: time, period: 10min}\nkey: sensor\ntarget: value\nlags: 3\nwindow: 5\n", "a.yaml"
)
MINUTES = [0, 10, 20, 60, 70, 30, 40, 50, 80, 90]
"""Three come after two later ones."""
DAY_MS = 86_400_000
IN_ORDER = [*range(0, 100, 10)]


def line(minute: int) -> str:
    time = f"2026-03-01T{minute // 60:02d}:{minute % 60:02d}:00+00:00"
    return json.dumps({"time": time, "sensor": "a", "value": 20 + minute / 100})


@pytest.mark.parametrize("at_once", [1, 4, 10])
async def test_records_out_of_order_are_taken_where_they_belong(tmp_path: Path, at_once: int):
    bus = MemoryBus(1)
    app = create_app(IngestSettings(), bus, FolderStore(tmp_path), streams={"a": STREAM})
    lines, late = [line(minute) for minute in MINUTES], 0
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
            for begin in range(0, len(lines), at_once):
                body = "\n".join(lines[begin : begin + at_once])
                kind = {"Content-Type": "application/x-ndjson"}
                answer = (await client.post("/v1/records", content=body, headers=kind)).json()
                assert answer["accepted"] == body.count("\n") + 1
                late += answer.get("late", 0)
        records = await published(bus, len(lines))
    assert late == 3

    dropped: list[str] = []
    inference = KeyedStep({"a": ForecastStep(STREAM, dict)}, lambda _stream, reason: dropped.append(reason))
    combiner = KeyedStep({"a": BlendStep(STREAM, lambda *_: None)}, lambda _stream, reason: dropped.append(reason))
    outputs = inference.step([Envelope(0, n, 0.0, record) for n, record in enumerate(records)])
    forecasts = [output.message for output in outputs if isinstance(output.message, Forecast)]
    blended = combiner.step([Envelope(0, n, 0.0, forecast) for n, forecast in enumerate(forecasts)])
    blends = [output.message for output in blended if isinstance(output.message, Blend)]
    assert [forecast.t % DAY_MS // 60_000 for forecast in forecasts] == MINUTES
    assert [blend.t % DAY_MS // 60_000 for blend in blends] == [0, 10, 20, 60, 70, 80, 90]
    assert dropped == []

    packing = RecordWindows({"a": STREAM})
    archive = ArchiveStep(packing, lambda _stream, reason: dropped.append(reason))
    windows = archive.step([Envelope(0, n, 0.0, record) for n, record in enumerate(records)])
    parts = [tables.decode(packing.encode(w.stream, w.key, w.rows), STREAM, w.name("4f2a91")) for w in windows]
    rows = concatenate(parts).by_key()["a"]
    assert (rows.t % DAY_MS // 60_000).tolist() == IN_ORDER
    assert rows.values[:, 0].tolist() == [20 + minute / 100 for minute in IN_ORDER]
    assert dropped == []
