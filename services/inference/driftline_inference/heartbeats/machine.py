"""What the machine says of itself, and the key that it signs with."""

import logging
import resource
import shutil
from contextlib import suppress
from pathlib import Path

from driftline.errors import InvalidInput
from driftline.fleet.definitions import read_files, version_of
from driftline.models.signing import Signer, read

log = logging.getLogger(__name__)

STATM = Path("/proc/self/statm")
"""On Linux, how many pages this process has: in all, and resident."""


def disk(folder: Path) -> tuple[int | None, int | None]:
    """Free bytes and all bytes of the disk that a folder is on, or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with suppress(OSError):
        usage = shutil.disk_usage(folder)
        return usage.free, usage.total
    return None, None


def resident() -> int | None:
    """Bytes of this process in memory; None where the system does not say it so."""
    with suppress(OSError, ValueError, IndexError):
        return int(STATM.read_text().split()[1]) * resource.getpagesize()
    return None


def definitions(folder: Path | None) -> str:
    """Names the stream definitions in the folder of those that came from the cloud; empty where there are none."""
    with suppress(OSError, UnicodeDecodeError):
        files = read_files(folder) if folder is not None else {}
        return version_of(files) if files else ""
    return ""


class DeviceKey:
    """The key in a file that may not be there yet, and may be replaced while the service runs."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._read: tuple[int, Signer] | None = None
        self._trouble = ""

    def examine(self) -> None:
        """Raises InvalidInput where there is a file and it holds no key."""
        if self._path is not None and self._path.exists():
            Signer(read(self._path))

    def signer(self) -> Signer | None:
        """None as long as there is none that can be used; why is logged once."""
        if self._path is None:
            return None
        try:
            changed = self._path.stat().st_mtime_ns
            if self._read is None or self._read[0] != changed:
                self._read = changed, Signer(read(self._path))
        except FileNotFoundError:
            self._read = None
        except (OSError, InvalidInput) as error:
            self._complain(str(error))
            self._read = None
        return self._read[1] if self._read else None

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("heartbeats are not signed: %s", trouble)
            self._trouble = trouble
