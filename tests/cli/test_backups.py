"""An edge in a file: backed up while it is stopped, restored onto any device, and refused where that would do harm."""

import asyncio
import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from driftline.bus.edge import edge_id
from driftline.errors import DriftlineError, InvalidInput, NotFound, RefusedBackup, Unavailable
from driftline.fleet.kept import KeptState
from driftline.fleet.replacing import take_up
from driftline.messages import BLENDS
from driftline_cli import backup_file, backups
from driftline_cli.backup_file import BackupHeader
from driftline_edge.settings import AllSettings, read_all
from tests.fleet.edges import blends, opened
from tests.upgrade import kept

OLD = "old1"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams" / "kept.yaml").write_text(kept.DEFINITION)
    (tmp_path / "key").write_bytes(bytes(range(32)))


def settings(data: str, **variables: str) -> AllSettings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"data": data, **variables}.items():
            patch.setenv(f"DRIFTLINE_{name.upper()}", value)
        return read_all()


async def live(folder: Path) -> None:
    async with opened(folder) as bus:
        await edge_id(bus, lambda: OLD)
        await blends(bus, kept.learned())
    (folder / "cache" / "models" / "kept" / "batch").mkdir(parents=True)
    (folder / "cache" / "models" / "kept" / "batch" / "current.json").write_text("{}")
    (folder / "cache" / ".lock").write_text("")


async def published(folder: Path) -> list[bytes]:
    async with opened(folder) as bus:
        assert await edge_id(bus) == OLD
        return [*map(BLENDS.encode, await blends(bus, kept.following()))]


@pytest.mark.parametrize("variables", [{}, {"fleet_key_file": "key"}], ids=["plain", "sealed"])
async def test_an_edge_goes_on_from_its_file_on_another_device(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    await live(tmp_path / "a")
    file = tmp_path / "usb" / "edge.backup"
    monkeypatch.setenv("DRIFTLINE_TOKEN", "never-in-a-file")
    monkeypatch.setenv("DRIFTLINE_STATE_EVERY", "61")
    header = await backups.backup(settings("a", **variables), file)
    assert (header.edge, header.bus, file.stat().st_mode & 0o777) == (OLD, "embedded", 0o600)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert (b"inference" in gunzipped(file)) is (not variables)
    expected = await published(tmp_path / "a")
    restored = await backups.restore(settings("b", streams="elsewhere", **variables), file)
    assert (restored.header.edge, restored.kept_definitions) == (OLD, [])
    assert await published(tmp_path / "b") == expected
    assert (tmp_path / "b" / "cache" / "models" / "kept" / "batch" / "current.json").read_text() == "{}"
    assert (tmp_path / "elsewhere" / "kept.yaml").read_text() == kept.DEFINITION
    lines = restored.settings.read_text().splitlines()
    assert "DRIFTLINE_STATE_EVERY=61" in lines
    assert not any("never-in-a-file" in line for line in lines)
    assert not (tmp_path / "b" / backups.STAGE).exists()


async def test_states_of_a_former_release_go_on_after_an_upgrade_in_between(tmp_path: Path):
    released = kept.load()
    async with opened(tmp_path / "a") as bus:
        states = [KeptState("inference", 0, f"kept/{key}", state) for key, state in released.forecast_states.items()]
        states += [KeptState("combiner", 0, f"kept/{key}", state) for key, state in released.blend_states.items()]
        await take_up(bus, OLD, states, 4)
    await backups.backup(settings("a"), tmp_path / "file")
    expected = await published(tmp_path / "a")
    await backups.restore(settings("b"), tmp_path / "file")
    assert await published(tmp_path / "b") == expected
    first, former = BLENDS.decode(expected[0]), released.forecasts[0]
    assert first.members["rls"] == pytest.approx(former.members["rls"], rel=0.05)


def gunzipped(file: Path) -> bytes:
    content = file.read_bytes()
    return gzip.decompress(content) if content.startswith(backup_file.COMPRESSED) else content


async def test_definitions_that_are_there_stay(tmp_path: Path):
    await live(tmp_path / "a")
    await backups.backup(settings("a"), tmp_path / "file")
    (tmp_path / "streams" / "kept.yaml").write_text("name: mine\n")
    restored = await backups.restore(settings("b"), tmp_path / "file")
    assert restored.kept_definitions == ["kept.yaml"]
    assert (tmp_path / "streams" / "kept.yaml").read_text() == "name: mine\n"


async def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(DriftlineError) as error:
        await call()  # type: ignore[misc]
    return str(error.value)


async def test_a_folder_in_use_or_without_an_edge_is_not_backed_up(tmp_path: Path):
    file = tmp_path / "file"
    with pytest.raises(NotFound, match="found no edge's data"):
        await backups.backup(settings("a"), file)
    assert not (tmp_path / "a").exists()
    async with opened(tmp_path / "a") as bus:
        with pytest.raises(Unavailable, match=f"the process {os.getpid()} uses this folder"):
            await backups.backup(settings("a"), file)
        await edge_id(bus, lambda: OLD)
    await backups.backup(settings("a"), file)
    async with opened(tmp_path / "b"):
        with pytest.raises(Unavailable, match="uses this folder, and only one may"):
            await backups.restore(settings("b"), file)
    assert file.is_file()


async def test_a_device_with_an_edge_is_not_overwritten(tmp_path: Path):
    await live(tmp_path / "a")
    await backups.backup(settings("a"), tmp_path / "file")
    with pytest.raises(InvalidInput, match="found an edge's data, expected none: move a to another place first"):
        await backups.restore(settings("a"), tmp_path / "file")
    (tmp_path / "a").rename(tmp_path / "aside")
    await backups.restore(settings("a"), tmp_path / "file")
    assert await published(tmp_path / "a") == await published(tmp_path / "aside")


async def test_what_was_interrupted_is_done_again(tmp_path: Path):
    await live(tmp_path / "a")
    await backups.backup(settings("a"), tmp_path / "file")
    # Killed when only some of it was there.
    (tmp_path / "b" / backups.STAGE / "bus").mkdir(parents=True)
    (tmp_path / "b" / backups.STAGE / "bus" / "000000000001.log").write_bytes(b"half")
    (tmp_path / "b" / "bus").mkdir()
    await backups.restore(settings("b"), tmp_path / "file")
    assert await published(tmp_path / "b") == await published(tmp_path / "a")


@pytest.mark.parametrize("variables", [{}, {"fleet_key_file": "key"}], ids=["plain", "sealed"])
async def test_a_file_that_is_damaged_is_refused_and_nothing_is_there(tmp_path: Path, variables: dict[str, str]):
    async with opened(tmp_path / "a") as bus:
        await edge_id(bus, lambda: OLD)
    (tmp_path / "a" / "cache").mkdir()
    # Of zeros a changed bit may be the same zeros, in other words.
    (tmp_path / "a" / "cache" / "noise").write_bytes(os.urandom(300_000))
    whole = tmp_path / "file"
    await backups.backup(settings("a", **variables), whole)
    content, given = whole.read_bytes(), settings("b", **variables)
    broken = [content[:end] for end in (0, 3, 20, 30, len(content) // 2, len(content) - 1)]
    places = (12, len(content) // 3, len(content) // 2, len(content) - 5)
    broken += [content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :] for place in places]
    for body in [*broken, b"garbage" * 1000, content + b"more", gzip.compress(b"garbage")]:
        whole.write_bytes(body)
        if variables and body == content + b"more":
            # What comes behind the last chunk is no part of it.
            continue
        with pytest.raises((RefusedBackup, InvalidInput)):
            await backups.restore(given, whole)
        assert not (tmp_path / "b" / "bus").exists()
        assert not (tmp_path / "b" / backups.STAGE).exists()


async def test_a_sealed_file_opens_with_its_key_alone(tmp_path: Path):
    async with opened(tmp_path / "a") as bus:
        await edge_id(bus, lambda: OLD)
    file = tmp_path / "file"
    await backups.backup(settings("a", fleet_key_file="key"), file)
    assert "set DRIFTLINE_FLEET_KEY_FILE" in await refusal(lambda: backups.restore(settings("b"), file))
    (tmp_path / "key").write_bytes(bytes(32))
    given = settings("b", fleet_key_file="key")
    assert "does not open with this fleet key" in await refusal(lambda: backups.restore(given, file))


def with_files(path: Path, header: BackupHeader, files: dict[str, bytes]) -> Path:
    """A tar that nobody of ours would write."""
    with gzip.open(path, "wb") as compressed, tarfile.open(fileobj=compressed, mode="w|") as tar:
        for name, content in {backup_file.HEADER: msgspec.json.encode(header), **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def header(files: dict[str, bytes], **changes: object) -> BackupHeader:
    described = backup_file.describe(files)
    made = BackupHeader(version=1, edge=OLD, at=0.0, software="0", bus="embedded", partitions=4, files=described)
    return msgspec.structs.replace(made, **changes)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("../outside", {}, "expected a path without `..`"),
        ("/outside", {}, "expected a path without `..`"),
        ("bus/a", {"version": 2}, "found a backup of version 2, expected 1: use a later release"),
        ("bus/a", {"bus": "kafka"}, "found a backup of DRIFTLINE_BUS=kafka, expected one of embedded"),
        ("bus/a", {"partitions": 8}, "set DRIFTLINE_PARTITIONS=8"),
        ("bus/000000000001.log", {}, "can't be used|found no edge's id"),
        ("bus/a", {"edge": "another"}, "can't be used|found no edge's id"),
    ],
)
async def test_a_file_that_means_harm_or_comes_from_elsewhere_is_refused(
    tmp_path: Path, name: str, changes: dict[str, object], said: str
):
    files = {name: b"x"}
    file = with_files(tmp_path / "file", header(files, **changes), files)
    with pytest.raises(DriftlineError, match=said):
        await backups.restore(settings("b"), file)
    assert not (tmp_path / "b" / "bus").exists()
    assert not (tmp_path / "outside").exists()


async def test_a_file_that_is_another_than_its_header_says_is_refused(tmp_path: Path):
    described = header({"bus/a": b"x", "bus/b": b"y"})
    for files, said in (
        ({"bus/a": b"x", "bus/b": b"z"}, "'bus/b' is damaged: found another SHA-256"),
        ({"bus/a": b"x", "bus/b": b"yy"}, "as the header describes it"),
        ({"bus/b": b"y", "bus/a": b"x"}, "found 'bus/b', expected 'bus/a'"),
        ({"bus/a": b"x"}, "found no 'bus/b', which the header names"),
    ):
        file = with_files(tmp_path / "file", described, files)
        with pytest.raises(RefusedBackup, match=said):
            await backups.restore(settings("b"), file)
        assert not (tmp_path / "b" / "bus").exists()


async def test_a_disk_without_room_is_said_before_anything_is_written(tmp_path: Path):
    files = {"bus/a": b"x"}
    made = header(files)
    huge = msgspec.structs.replace(made.files["bus/a"], size=1 << 60)
    file = with_files(tmp_path / "file", msgspec.structs.replace(made, files={"bus/a": huge}), files)
    with pytest.raises(Unavailable, match="bytes free, expected at least 1,152,921,504,606,846,976"):
        await backups.restore(settings("b"), file)


async def test_a_backup_on_a_full_disk_leaves_the_former_one(tmp_path: Path):
    async with opened(tmp_path / "a") as bus:
        await edge_id(bus, lambda: OLD)
    folder = tmp_path / "usb"
    folder.mkdir()
    (folder / "file").write_text("former")
    with pytest.raises(Unavailable, match="the disk is full: make room, and do it again"):
        await asyncio.to_thread(_write_to_full, folder / "file")
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_text() == "former"


def _write_to_full(path: Path) -> None:
    """As `write` does, onto a device that is always full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", _full)
        backup_file.write(path, header({"a": b"x"}), {"a": b"x"}, None)


def _full(_: int) -> None:
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")
