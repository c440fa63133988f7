"""Opens the bus and the store that the settings name."""

from pathlib import Path

from driftline.bus import Bus
from driftline.settings import Settings
from driftline.store import Store


def open_store(settings: Settings) -> Store:
    """A folder, or the bucket of an s3:// URL. Clients are imported only where they are used: memory is dear."""
    if not settings.store.startswith("s3://"):
        from driftline.folder import FolderStore  # noqa: PLC0415

        return FolderStore(Path(settings.store))
    raise NotImplementedError


def open_bus(settings: Settings) -> Bus:
    raise NotImplementedError
