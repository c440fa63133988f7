"""Secrets are made once, each for its readers alone, and a token lets in who has exactly it."""

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from driftline.metrics import Metrics
from driftline.models.signing import Signer, Trust
from driftline.service.access.opening import open_gate
from driftline.service.app import create_service
from driftline.service.make_secrets import make
from driftline.service.settings import Settings

TOKEN = "h0sh-hush-hush"  # noqa: S105 - a test's


def held(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path):
    make(tmp_path)
    first = held(tmp_path)
    make(tmp_path)
    assert held(tmp_path) == first
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {0o400}


def test_an_edge_gets_no_signing_key_but_trusts_the_trainers(tmp_path: Path):
    make(tmp_path)
    found = held(tmp_path)
    private = found["trainer/driftline_signing_key"]
    assert [name for name, text in found.items() if "PRIVATE KEY" in text] == ["trainer/driftline_signing_key"]
    assert found["edge/driftline_trusted_keys"] == Signer(private).public
    assert not Trust([found["edge/driftline_trusted_keys"]]).believes_nobody
    assert found["edge/driftline_token"] == found["trainer/driftline_token"]
    assert found["edge/driftline_fleet_key"] == found["trainer/driftline_fleet_key"]


def test_no_two_installations_share_a_secret(tmp_path: Path):
    make(tmp_path / "one")
    make(tmp_path / "two")
    assert not set(held(tmp_path / "one").values()) & set(held(tmp_path / "two").values())


@pytest.fixture
def app() -> FastAPI:
    metrics = Metrics()
    found = create_service("x", "x", metrics=metrics, gate=open_gate(Settings(token=SecretStr(TOKEN)), metrics))

    @found.post("/change")
    async def change() -> str:
        return "changed"

    return found


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}?",
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN} {TOKEN}",
        "Bearer hüsh",
    ],
)
async def test_who_has_not_exactly_the_token_is_kept_out(app: FastAPI, header: str | None):
    headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        answer = await client.post("/change", headers=headers)
        assert answer.status_code == 401
        assert TOKEN not in answer.text
        for scheme in ("Bearer", "bearer"):
            assert (await client.post("/change", headers={"Authorization": f"{scheme} {TOKEN}"})).is_success
