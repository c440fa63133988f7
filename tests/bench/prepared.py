"""What a stack needs before it can be measured: a definition of its own, history, first models."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline.streams.rows import Rows
from driftline.streams.tables import encode, read_file
from driftline_cli.stack import Stack
from tests.conftest import ROOT

NAME = "outdoor-temperature"
HISTORY = "history.parquet"
TRAINED_S = 300


def real_data() -> tuple[StreamDefinition, Rows]:
    stream = load(ROOT / "streams" / f"{NAME}.yaml")
    return stream, read_file(ROOT / "data" / "la-haute-borne.parquet", stream)


def write_definition(folder: Path, changes: Mapping[str, Any]) -> StreamDefinition:
    """The stream of the real data, in folder/streams, but for some of its lines."""
    found = yaml.safe_load((ROOT / "streams" / f"{NAME}.yaml").read_text())
    for name, value in changes.items():
        found[name] = {**found.get(name, {}), **value} if isinstance(value, dict) else value
    (folder / "streams").mkdir()
    path = folder / "streams" / "bench.yaml"
    path.write_text(yaml.safe_dump(found))
    return load(path)


def write_history(folder: Path, rows: Rows, stream: StreamDefinition) -> dict[str, str]:
    """Rows to train on, in folder/data; the settings by which a trainer finds them."""
    (folder / "data").mkdir()
    (folder / "data" / HISTORY).write_bytes(encode(rows, stream))
    return {"DRIFTLINE_DATA_DIR": str(folder / "data")}


async def first_models(stack: Stack) -> None:
    """Returns when a batch and a speed model that were trained on the history serve."""
    async with httpx.AsyncClient(timeout=30) as client:
        asked = {"stream": NAME, "member": "batch", "history": HISTORY}
        (await client.post(f"{stack.url('trainer')}/v1/jobs", json=asked)).raise_for_status()
    await models_serving(stack.url("inference"))


async def models_serving(url: str) -> None:
    """Returns when inference at `url` has a batch and a speed model that serve."""
    async with httpx.AsyncClient(timeout=30) as client, asyncio.timeout(TRAINED_S):
        serving = 0
        while serving < 2:
            models = (await client.get(f"{url}/v1/models")).json()["models"]
            serving = sum(model["state"] == "serving" for model in models)
            await asyncio.sleep(0.2)
