"""What is made is on the disk with its name, and a file is never seen in part."""

import errno
import os
from pathlib import Path

import pytest

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.files import make_folder, replace_file
from driftline.store.folder import FolderStore


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The numbers of all files and folders that were synced."""
    numbers: set[int] = set()
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        fsync(descriptor)
        numbers.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", noting)
    return numbers


def test_each_new_folder_has_its_name_on_the_disk(tmp_path: Path, synced: set[int]):
    make_folder(tmp_path / "a" / "b" / "c")
    assert synced == {folder.stat().st_ino for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")}
    make_folder(tmp_path / "a" / "b" / "c")


async def test_the_bus_and_the_store_sync_the_names_of_their_folders(tmp_path: Path, synced: set[int]):
    bus = EmbeddedBus(EmbeddedSettings(tmp_path / "data" / "bus"))
    await bus.close()
    store = FolderStore(tmp_path / "data" / "store")
    await store.put("models/a/current.json", b"{}")
    above = [tmp_path, tmp_path / "data", store.root, store.root / "models", store.root / "models" / "a"]
    assert {folder.stat().st_ino for folder in above} <= synced


def test_a_file_that_can_not_be_written_remains_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "file"
    replace_file(path, b"one", mode=0o400)
    assert path.stat().st_mode & 0o777 == 0o400

    def failing(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="No space"):
            replace_file(path, b"two")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("file", b"one")]
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
