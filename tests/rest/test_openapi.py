"""Every service does what its OpenAPI description says: schemathesis calls all of it, with what is right and wrong."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from driftline.bus.memory import MemoryBus
from driftline.messages import FORECASTS, Forecast
from driftline.models.signing import Signer, new_key
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline_combiner.app import create_app as create_combiner
from driftline_combiner.settings import CombinerSettings
from driftline_inference.app import create_app as create_inference
from driftline_inference.settings import InferenceSettings
from driftline_ingest.app import create_app as create_ingest
from driftline_ingest.settings import IngestSettings
from driftline_trainer.app import create_app as create_trainer
from driftline_trainer.settings import TrainerSettings
from tests.conftest import ROOT
from tests.serving import served

TOKEN = SecretStr("hush")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
)
"""What an answer must keep to. Not among them: that whatever fits the schema is accepted, since no schema knows which
streams, models and columns there are."""
ENDLESS = "/v1/live"
"""Its answer never ends, so it is none for schemathesis; the dashboard's tests read it."""

PROTOCOL = {"application/json"}
"""Errors of the Open Inference Protocol have its own form."""

Make = Callable[[StreamDefinition, Path], FastAPI]


def ingest(stream: StreamDefinition, folder: Path) -> FastAPI:
    return create_ingest(IngestSettings(token=TOKEN), MemoryBus(), FolderStore(folder), streams={stream.name: stream})


def inference(stream: StreamDefinition, folder: Path) -> FastAPI:
    settings = InferenceSettings(token=TOKEN, trusted_keys=Signer(new_key()).public)
    return create_inference(settings, MemoryBus(), FolderStore(folder), streams={stream.name: stream})


def combiner(stream: StreamDefinition, folder: Path) -> FastAPI:
    settings, store = CombinerSettings(token=TOKEN), FolderStore(folder)
    return create_combiner(settings, MemoryBus(), streams={stream.name: stream}, store=store)


def trainer(stream: StreamDefinition, folder: Path) -> FastAPI:
    settings = TrainerSettings(token=TOKEN, signing_key=SecretStr(new_key()), data_dir=folder)
    return create_trainer(settings, FolderStore(folder / "store"), streams={stream.name: stream})


@pytest.fixture(params=[ingest, inference, combiner, trainer], ids=lambda make: make.__name__)
def app(request: pytest.FixtureRequest, temperature: StreamDefinition, tmp_path: Path) -> FastAPI:
    return request.param(temperature, tmp_path)


async def test_schemathesis_finds_no_failure(app: FastAPI, tmp_path: Path):
    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert command is not None
    async with served(app) as address:
        process = await asyncio.create_subprocess_exec(
            *(command, "run", f"http://{address}/openapi.json"),
            *(("--exclude-path", ENDLESS) if ENDLESS in app.openapi()["paths"] else ()),
            *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--max-examples", "15"),
            *("--seed", "1", "--header", f"Authorization: Bearer {TOKEN.get_secret_value()}", "--no-color"),
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.rest.lines", "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


def test_every_operation_has_a_summary_and_every_error_a_body(app: FastAPI):
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
            for status, answer in errors.items():
                kinds = PROTOCOL if path.startswith("/v2") or path == "/readyz" else {"application/problem+json"}
                assert set(answer["content"]) == kinds, (method, path, status)
                assert all(body["schema"] for body in answer["content"].values()), (method, path, status)
                assert answer["description"].endswith("."), (method, path, status)


async def test_what_changes_something_needs_the_token(app: FastAPI):
    changing = [path for path, found in app.openapi()["paths"].items() if "post" in found and "/v2/" not in path]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        for path in changing:
            assert app.openapi()["paths"][path]["post"]["security"]
            answer = await client.post(path.format(stream="s", member="m", edge="e"), json={"version": "v"})
            assert answer.status_code == 401, path


async def test_a_blend_is_as_described(temperature: StreamDefinition):
    bus = MemoryBus()
    app = create_combiner(CombinerSettings(), bus, streams={temperature.name: temperature})
    horizon = list(temperature.horizon)
    async with served(app) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=60) as client:
        async with client.stream("GET", f"/v1/live?stream={temperature.name}&key=R80711") as live:
            forecast = Forecast(
                temperature.name,
                "R80711",
                1_420_070_400_000,
                4.2,
                horizon,
                {"persistence": [4.2] * len(horizon)},
                {},
                0.0,
            )
            await bus.publish(FORECASTS, [forecast])
            async with asyncio.timeout(120):
                lines = live.aiter_lines()
                event = dict([(await anext(lines)).split(": ", 1) for _ in range(3)])
            assert (event["id"], event["event"]) == ("1420070400000", "blend")
            assert json.loads(event["data"])["key"] == "R80711"
        answer = await client.get(f"/v1/blends/{temperature.name}/R80711")
        assert answer.status_code == 200
        assert set(answer.json()) == set(app.openapi()["components"]["schemas"]["BlendAnswer"]["properties"])


async def test_the_examples_of_a_record_are_taken(temperature: StreamDefinition, tmp_path: Path):
    app = create_ingest(IngestSettings(), MemoryBus(), FolderStore(tmp_path), streams={temperature.name: temperature})
    operation = app.openapi()["paths"]["/v1/records"]["post"]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        for kind, body in operation["requestBody"]["content"].items():
            example = body["example"]
            content = example if isinstance(example, str) else json.dumps(example)
            answer = await client.post("/v1/records", content=content, headers={"Content-Type": kind})
            assert answer.status_code == 202, (kind, answer.text)
