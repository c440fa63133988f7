"""All services at once: what is known ahead comes in by its door, is learned from, forecast from and archived."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import httpx
import numpy as np
import pytest

from driftline.store.folder import FolderStore
from driftline.store.port import read
from driftline.streams import tables
from driftline.streams.definition_files import parse
from driftline.streams.rows import FutureRows, Rows
from driftline_cli.chain import running_chain

pytestmark = pytest.mark.e2e

HOUR_MS = 3_600_000
FIRST = 1_420_070_400_000
PATIENCE_S = 60
HISTORY, LIVE, AHEAD = 800, 130, 10
STREAM = parse(
    "name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nhorizon: [1, 3]\nwindow: 50\nfutures: {f: level}\n"
    "training: {units: [16], networks: 1, steps: 600, dropout: 0}\n",
    "a.yaml",
)


def at(hour: int) -> str:
    return f"{np.datetime_as_string(np.datetime64(FIRST + hour * HOUR_MS, 'ms'))}Z"


async def test_a_chain_that_knows_the_truth_ahead_forecasts_it(tmp_path: Path):
    y = np.random.default_rng(5).normal(size=HISTORY + LIVE + AHEAD).cumsum()
    t = FIRST + np.arange(len(y)) * HOUR_MS
    past, keys = slice(0, HISTORY), np.full(len(y), "k")
    plan = FutureRows(keys[past], t[past] - AHEAD * HOUR_MS, t[past], y[past, None])
    store = FolderStore(tmp_path)
    async with running_chain({"a": STREAM}, tmp_path) as chain:
        await store.put("history/a/futures-plan.parquet", tables.encode_futures(plan, STREAM))
        job = await chain.train(STREAM, Rows(keys[past], t[past], y[past, None]))
        assert job.metrics is not None
        assert job.metrics["skill"] > 0.7
        client = httpx.AsyncClient(transport=httpx.ASGITransport(chain.apps["ingest"]), base_url="http://ingest")
        async with client, asyncio.timeout(PATIENCE_S):
            for hour in range(HISTORY, HISTORY + LIVE):
                plans = [
                    {"issued": at(hour), "when": at(hour + n), "id": "k", "f": float(y[hour + n])} for n in range(AHEAD)
                ]
                assert (await client.post("/v1/futures", json=plans)).status_code == 202
                record = {"when": at(hour), "id": "k", "y": float(y[hour])}
                assert (await client.post("/v1/records", json=record)).json()["accepted"] == 1
            while len(chain.collected.blends) < LIVE:
                chain.collected.changed.clear()
                await chain.collected.changed.wait()
            async with aclosing(store.watch("futures/", poll=0.1)) as hints:
                async for _ in hints:
                    archived = [file.key async for file in store.list("futures/a/k/")]
                    if archived:
                        break
        blends = chain.collected.blends[-100:]
        models = np.array([blend.members["batch"][1] for blend in blends], dtype=np.float64)
        blended = np.array([blend.value[1] for blend in blends], dtype=np.float64)
        hours = np.array([(blend.t - FIRST) // HOUR_MS for blend in blends])
        naive = np.sqrt(np.mean((y[hours + 3] - y[hours]) ** 2))
        for forecast in (models, blended):
            assert np.sqrt(np.mean((forecast - y[hours + 3]) ** 2)) < 0.5 * naive
        futures = tables.decode_futures(await read(store, archived[0], 1_000_000), STREAM, archived[0])
        # The first issue came before the series' first record, so nobody kept it.
        assert len(futures) == 1000
        assert futures.issued[0] == FIRST + (HISTORY + 1) * HOUR_MS
