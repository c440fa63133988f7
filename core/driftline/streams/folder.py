"""A folder of stream definitions, looked at again and again: which files are new, and which of them can be used.

It is looked at, not listened to: inotify says nothing of other mounts, and a look at some files costs well under a
millisecond.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from driftline.errors import InvalidDefinition
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import DefinedStreams, load

Mark = tuple[int, int, int]
"""A file's time of change, size and inode."""


@dataclass(frozen=True)
class Look:
    """What lies in the folder.

    found: by stream its definition. refused: by file why it can't be used. settling: whether a file was touched since
    the look before, so that it may still be in the middle of being written.
    """

    definitions: Mapping[str, StreamDefinition] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    settling: bool = False


class DefinitionFolder:
    """Reads each file once, when it has been the same for two looks."""

    def __init__(self, path: Path, cloud: Path | None = None) -> None:
        """cloud: a second folder, for streams whose names the first has not."""
        self.path = path
        self.cloud = cloud
        self._marks: dict[Path, Mark] = {}
        self._read: dict[Path, tuple[Mark, StreamDefinition | str]] = {}

    def look(self, *, settled: bool = False) -> Look:
        """settled: whoever wrote the files has long ended, as when a service starts."""
        before, self._marks = self._marks, self._look()
        files = DefinedStreams()
        refused: dict[str, str] = {}
        settling = False
        for path, mark in self._marks.items():
            settling |= not (settled or before.get(path) == mark)
            if settled or before.get(path) == mark:
                self._load(path, mark)
            # Until it has settled, what it said before is what it says.
            _, read = self._read.get(path, (None, None))
            if isinstance(read, str):
                refused[self._name(path)] = read
            elif read is None or self._is_overridden(path, read, files):
                continue
            elif (reason := files.add(path, read)) is not None:
                refused[self._name(path)] = reason
        self._read = {path: read for path, read in self._read.items() if path in self._marks}
        return Look(files.streams, refused, settling)

    def _is_overridden(self, path: Path, definition: StreamDefinition, files: DefinedStreams) -> bool:
        """Whether it comes from the cloud, and a file of this machine says something else of one of its streams."""
        is_own = path.parent == self.path
        return not is_own and any(stream.name in files.streams for stream in definition.streams)

    def _name(self, path: Path) -> str:
        return path.name if path.parent == self.path else f"{path.parent.name}/{path.name}"

    def _look(self) -> dict[Path, Mark]:
        marks = {}
        # This machine's own first.
        for path in (*sorted(self.path.glob("*.yaml")), *(sorted(self.cloud.glob("*.yaml")) if self.cloud else ())):
            try:
                stat = path.stat()
            except OSError:
                # Taken away this moment, or a link to nothing: the next look tells.
                continue
            marks[path] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return marks

    def _load(self, path: Path, mark: Mark) -> None:
        if path in self._read and self._read[path][0] == mark:
            return
        try:
            self._read[path] = (mark, load(path))
        except InvalidDefinition as error:
            self._read[path] = (mark, str(error))
