"""What was forecast before: from windows that the archive wrote, and from memory where these end."""

from collections.abc import AsyncIterator, Sequence
from math import nan
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stamina

from driftline.bus.edge import edge_id
from driftline.bus.memory import MemoryBus
from driftline.errors import InvalidInput, StoreUnavailable
from driftline.messages import BLENDS, Blend
from driftline.store.folder import FolderStore
from driftline.store.object_names import folder_of
from driftline.store.windows import WindowName
from driftline.streams.definition_files import parse
from driftline_combiner.app import create_app
from driftline_combiner.dashboard_buffer import DashboardBuffer
from driftline_combiner.result_file import read_results
from driftline_combiner.settings import CombinerSettings
from driftline_ingest.windows import BlendWindows
from tests.serving import served

BEGIN = 1_767_225_600_000
HOUR = 3_600_000
KEY = "k 0/x"
STREAM = parse(
    "name: tank\ntime: {column: when, period: 1h}\nkey: id\ntarget: level\nhorizon: [1, 6]\n"
    "columns: {level: {unit: cm}}\n",
    "tank.yaml",
)
WINDOW, ARCHIVED, ALL = 10, 40, 60
"""Rows of a window, in the archive, and in all; those that memory has overlap the archive."""


def blend(n: int, key: str = KEY) -> Blend:
    at = float(n)
    return Blend(
        "tank",
        key,
        BEGIN + n * HOUR + 7,
        at,
        [1, 6],
        [at + 0.5, nan],
        "online",
        {"online": [at + 0.5, nan]},
        {},
        {},
        {},
        0.0,
        lower=[at - 1, at - 6],
        upper=[at + 1, at + 6],
        grid_t=BEGIN + n * HOUR,
    )


def window(blends: Sequence[Blend]) -> bytes:
    packing = BlendWindows({"tank": STREAM})
    return packing.encode("tank", blends[0].key, [packing.pack(blend) for blend in blends])


async def archive(store: FolderStore, edge: str, blends: Sequence[Blend]) -> str:
    name = WindowName(blends[0].t, blends[-1].t, edge).format()
    key = f"results/tank/{folder_of(blends[0].key)}/{name}"
    await store.put(key, window(blends))
    return key


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


@pytest.fixture
async def client(store: FolderStore) -> AsyncIterator[httpx.AsyncClient]:
    """A combiner whose memory begins 5 rows before the archive's end."""
    bus = MemoryBus()
    edge = await edge_id(bus)
    for first in range(0, ARCHIVED, WINDOW):
        await archive(store, edge, [blend(n) for n in range(first, first + WINDOW)])
    # Another edge's are not this one's.
    await archive(store, "b" * 12, [blend(n) for n in range(3)])
    async for opened in serving(bus, store):
        yield opened


async def serving(bus: MemoryBus, store: FolderStore) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(CombinerSettings(), bus, streams={"tank": STREAM}, store=store, on_death=lambda *_: None)
    async with served(app) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=60) as client:
        await bus.publish(BLENDS, [blend(n) for n in range(ARCHIVED - 5, ALL)])
        await until_remembered(client)
        yield client


@stamina.retry(on=AssertionError, attempts=None, timeout=30, wait_max=0.2)
async def until_remembered(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH, params={"from": BEGIN + (ALL - 1) * HOUR})
    assert len(answer.json()["rows"]) == 1


PATH = "/v1/history/tank/k%200%2Fx"


def row(n: int) -> dict[str, Any]:
    at, begin = float(n), BEGIN + n * HOUR
    return {
        "issued": begin + 7,
        "issued_time": (np.datetime64(begin + 7, "ms").astype(str)) + "+00:00",
        "observed": at,
        "forecasts": [
            {"horizon": 1, "t": begin + HOUR, "value": at + 0.5, "lower": at - 1, "upper": at + 1},
            {"horizon": 6, "t": begin + 6 * HOUR, "value": None, "lower": at - 6, "upper": at + 6},
        ],
    }


async def test_archive_and_memory_are_one_history(client: httpx.AsyncClient):
    answer = (await client.get(PATH)).raise_for_status().json()
    assert (answer["stream"], answer["key"], answer["target"], answer["unit"]) == ("tank", KEY, "level", "cm")
    assert answer["rows"] == [row(n) for n in range(ALL)]


@pytest.mark.parametrize(("first", "last"), [(0, 3), (8, 12), (33, 37), (38, 45), (50, 60), (12, 12), (70, 80)])
async def test_a_range_of_time_may_be_asked_for(client: httpx.AsyncClient, first: int, last: int):
    span = {"from": BEGIN + first * HOUR + 7, "to": BEGIN + last * HOUR + 7}
    answer = (await client.get(PATH, params=span)).raise_for_status().json()
    assert [row["issued"] for row in answer["rows"]] == [BEGIN + n * HOUR + 7 for n in range(first, min(last, ALL))]


@pytest.mark.parametrize("limit", [1, 7, 10, 59, 60, 61])
async def test_pages_lead_through_all_of_it(client: httpx.AsyncClient, limit: int):
    answer = await client.get(PATH, params={"limit": limit, "horizon": 6, "to": "2026-01-05T00:00:00Z"})
    rows = []
    while True:
        page = answer.raise_for_status().json()["rows"]
        assert len(page) <= limit
        rows += page
        if "next" not in answer.links:
            break
        answer = await client.get(answer.url.join(answer.links["next"]["url"]))
    assert rows == [{**row(n), "forecasts": row(n)["forecasts"][1:]} for n in range(ALL)]


async def test_what_a_client_has_is_not_sent_again(client: httpx.AsyncClient):
    etag = (await client.get(PATH)).headers["ETag"]
    answer = await client.get(PATH, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")


async def test_what_can_not_be_asked_for_is_refused(client: httpx.AsyncClient):
    assert (await client.get("/v1/history/attic/k1")).status_code == 404
    assert (await client.get(PATH, params={"horizon": 5})).status_code == 422
    assert (await client.get(PATH, params={"from": "yesterday"})).status_code == 422
    assert (await client.get(PATH, params={"limit": 100_000})).status_code == 422
    assert (await client.get("/v1/history/tank/nobody")).json()["rows"] == []


async def test_a_window_that_is_damaged_costs_its_own_rows_alone(
    client: httpx.AsyncClient, store: FolderStore, caplog: pytest.LogCaptureFixture
):
    keys = [listed.key async for listed in store.list("results/")]
    damaged = next(key for key in keys if str(blend(10).t) in key)
    await store.put(damaged, b"PAR1 and no more")
    rows = (await client.get(PATH)).raise_for_status().json()["rows"]
    assert rows == [row(n) for n in range(ALL) if not 10 <= n < 20]
    assert "a window of results is left out" in caplog.text


class AwayStore(FolderStore):
    """A store that does not answer."""

    async def list(self, prefix: str, *, after: str = ""):
        if prefix:
            raise StoreUnavailable("the store does not answer")
        yield


async def test_without_the_store_memory_still_answers(tmp_path: Path):
    async for client in serving(MemoryBus(), AwayStore(tmp_path)):
        remembered = await client.get(PATH, params={"from": BEGIN + (ARCHIVED - 5) * HOUR + 7})
        assert len(remembered.raise_for_status().json()["rows"]) == ALL - ARCHIVED + 5
        assert (await client.get(PATH)).status_code == 503


def test_windows_of_former_releases_have_no_intervals_and_no_grid():
    table = pq.read_table(pa.BufferReader(window([blend(3), blend(4)])))
    former = table.drop_columns([name for name in table.column_names if name.startswith(("lower", "upper", "grid"))])
    sink = pa.BufferOutputStream()
    pq.write_table(former, sink)
    first, _ = read_results(sink.getvalue().to_pybytes(), STREAM, [1, 6], 0, 2 * BEGIN)
    assert (first.issued, first.observed) == (BEGIN + 3 * HOUR + 7, 3.0)
    near, far = first.forecasts
    assert (near.t, near.value, near.lower, near.upper) == (BEGIN + 4 * HOUR + 7, 3.5, None, None)
    assert far.value is None


@pytest.mark.parametrize(
    "columns",
    [
        {"x": [1.0]},
        {"t": ["noon"], "blend_1": [1.0]},
        {"t": pa.array([1] * 200_001), "blend_1": pa.nulls(200_001, pa.float64())},
        {"t": [BEGIN], "blend_1": ["high"]},
        {"t": [BEGIN], "grid_t": pa.nulls(1, pa.int64())},
    ],
    ids=["other", "text", "many", "word", "null"],
)
def test_what_is_no_window_is_refused(columns: dict[str, Any]):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    with pytest.raises(InvalidInput, match="expected"):
        read_results(sink.getvalue().to_pybytes(), STREAM, [1, 6], 0, 2 * BEGIN)


async def test_memory_gives_what_lies_between_two_times():
    buffer = DashboardBuffer(MemoryBus(), 1000)
    assert list(buffer.between(("tank", KEY), 0, 2 * BEGIN)) == []
