"""The local stack's token: made once, its owner's alone, and given to nobody else."""

import stat
from pathlib import Path

import msgspec
import pytest

from driftline.errors import InvalidInput
from driftline_cli import tokens
from driftline_cli.places import RUN
from driftline_cli.stack import Ports

TRAINER = 8004


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A stack that was started in this folder's `.run`; its token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DRIFTLINE_SECRETS", raising=False)
    folder = tokens.make(RUN)
    (RUN / "ports.json").write_bytes(msgspec.json.encode(Ports()))
    return (folder / tokens.TOKEN_FILE).read_text()


def test_it_is_made_once_and_only_its_owner_reads_it(tmp_path: Path):
    folder = tokens.make(tmp_path / "run")
    files = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(files) == {"driftline_token", "authorization"}
    assert files["authorization"] == f"Authorization: Bearer {files['driftline_token']}\n"
    assert len(files["driftline_token"]) >= 32
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())] == [0o700, 0o600, 0o600]
    assert tokens.make(tmp_path / "run") == folder
    assert {path.name: path.read_text() for path in folder.iterdir()} == files
    assert tokens.make(tmp_path / "other").joinpath("driftline_token").read_text() != files["driftline_token"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8004", "http://localhost:8001/", "http://[::1]:8002"])
def test_the_local_stacks_services_get_it(stack: str, url: str):
    assert tokens.token_of(url, None) == stack


@pytest.mark.parametrize(
    "url",
    [
        "http://cloud.example:8004",
        "http://127.0.0.1:9004",
        "http://127.0.0.1",
        "http://10.0.0.1:8004",
        "http://a:x",
        "",
    ],
)
def test_nobody_else_gets_it(stack: str, url: str):
    assert tokens.token_of(url, None) is None


def test_what_is_given_wins_and_a_folder_of_secrets_is_read(stack: str, tmp_path: Path, monkeypatch):
    assert tokens.token_of("http://127.0.0.1:8004", "given") == "given"
    (tmp_path / "driftline_token").write_text("kept\n")
    monkeypatch.setenv("DRIFTLINE_SECRETS", str(tmp_path))
    assert tokens.token_of("http://cloud.example:8004", None) == "kept"
    (tmp_path / "driftline_token").write_bytes(b"hush\xff")
    with pytest.raises(InvalidInput) as error:
        tokens.token_of("http://cloud.example:8004", None)
    assert "hush" not in str(error.value)


def test_without_a_stack_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert tokens.token_of("http://127.0.0.1:8004", None) is None
