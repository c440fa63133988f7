"""What a disk holds when the power goes: what was synced, and of the rest any sectors and the first of any renames."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct

HEAD = Struct("<ciQI")
SECTOR = 512


@dataclass(frozen=True)
class Action:
    """One record of recorder.c."""

    kind: str
    descriptor: int
    offset: int
    data: bytes


def recorded(path: Path) -> Iterator[Action]:
    data, at = path.read_bytes(), 0
    while at < len(data):
        kind, descriptor, offset, length = HEAD.unpack_from(data, at)
        at += HEAD.size
        yield Action(kind.decode(), descriptor, offset, data[at : at + length])
        at += length


@dataclass
class File:
    """Bytes that are safe, and what was done since the last sync, in order."""

    safe: bytes = b""
    since: list[Action] = field(default_factory=list)

    def sync(self) -> None:
        for action in self.since:
            self.safe = done(self.safe, action)
        self.since.clear()

    def after_cut(self, draw: random.Random, share: float) -> bytes:
        """share: of what was not synced so much is there all the same."""
        left = self.safe
        for action in self.since:
            for part in sectors(action):
                if draw.random() < share:
                    left = done(left, part)
        return left


def sectors(action: Action) -> Iterator[Action]:
    """A disk writes whole sectors, in any order; everything else it does at once."""
    if action.kind != "W":
        yield action
        return
    start = 0
    while start < len(action.data):
        end = start + SECTOR - (action.offset + start) % SECTOR
        yield Action("W", action.descriptor, action.offset + start, action.data[start:end])
        start = end


def done(data: bytes, action: Action) -> bytes:
    if action.kind == "T":
        return data[: action.offset].ljust(action.offset, b"\0")
    if action.kind == "L":
        return data.ljust(action.offset, b"\0")
    end = action.offset + len(action.data)
    return data[: action.offset].ljust(action.offset, b"\0") + action.data + data[end:]


class Disk:
    """Follows a record; at any time it says what a power cut would leave."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self._descriptors: dict[int, File] = {}
        self._names: dict[str, File] = {}
        self._safe_names: dict[str, File] = {}
        self._renamed: list[dict[str, File]] = []
        """The folder after each change since its last sync."""

    def follow(self, action: Action) -> None:
        match action.kind:
            case "A":
                self.acknowledged += action.data.decode().splitlines()
            case "O":
                self._open(action)
            case "S":
                self._descriptors[action.descriptor].sync()
            case "D":
                self._safe_names = dict(self._names)
                self._renamed.clear()
            case "R":
                source, target = action.data.decode().split("/")
                self._names[target] = self._names.pop(source)
                self._renamed.append(dict(self._names))
            case "U":
                self._names.pop(action.data.decode())
                self._renamed.append(dict(self._names))
            case _:
                self._descriptors[action.descriptor].since.append(action)

    def _open(self, action: Action) -> None:
        name = action.data.decode()
        if name not in self._names:
            self._names[name] = File()
            self._renamed.append(dict(self._names))
        self._descriptors[action.descriptor] = self._names[name]
        if action.offset:
            self._names[name].since.append(Action("T", action.descriptor, 0, b""))

    def cut(self, folder: Path, draw: random.Random, share: float) -> None:
        """Makes the folder as it is after a cut now."""
        folder.mkdir(parents=True)
        states = [self._safe_names, *self._renamed]
        names = states[min(int(share * len(states) + draw.random()), len(states) - 1)]
        for name, file in names.items():
            (folder / name).write_bytes(file.after_cut(draw, share))
