"""What the page shows to the other services where they let nobody read without a token."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from driftline.bus.memory import MemoryBus
from driftline.models.signing import Signer, new_key
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline_cli.named_tokens import new
from driftline_combiner.app import create_app
from driftline_combiner.settings import CombinerSettings
from driftline_inference.app import create_app as create_inference
from driftline_inference.settings import InferenceSettings
from tests.serving import served

SHARED = "hush-hush-hush"


@pytest.mark.parametrize("shows", ["a viewer's token", "the one token", "a wrong token", "nothing"])
async def test_it_learns_of_the_models_with_its_own_token(temperature: StreamDefinition, tmp_path: Path, shows: str):
    tokens, streams = tmp_path / "tokens.yaml", {temperature.name: temperature}
    token = new(tmp_path / "tokens.yaml", "page", "viewer", None)
    ways: dict[str, dict[str, Any]] = {
        "a viewer's token": {"page_token": SecretStr(token)},
        "the one token": {"token": SecretStr(SHARED), "read": "token"},
        "a wrong token": {"page_token": SecretStr("wrong")},
        "nothing": {},
    }
    closed = InferenceSettings(
        tokens_file=tokens, token=SecretStr(SHARED), read="token", trusted_keys=Signer(new_key()).public
    )
    inference = create_inference(closed, MemoryBus(), FolderStore(tmp_path / "store"), streams=streams)
    async with served(inference, working=False) as address:
        settings = CombinerSettings(page_services={"inference": f"http://{address}"}, **ways[shows])
        page = create_app(settings, MemoryBus(), streams=streams)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(page), base_url="http://page") as client:
            answer = await client.get("/v1/overview", headers={"Authorization": f"Bearer {SHARED}"})
    assert (answer.json()["edge"] is not None) == (shows in {"a viewer's token", "the one token"})
