"""The fleet's stream definitions: one signed note with the text of every file.

definitions/current.json
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path, PurePath

import msgspec

from driftline.errors import InvalidDefinition, RefusedNote
from driftline.fleet.notes import opened
from driftline.fleet.rollout import rank
from driftline.models.signing import Trust
from driftline.streams.definition_files import DefinedStreams, parse

FOLDER = "definitions/"
KEY = f"{FOLDER}current.json"
LIMIT = 4 * 1024 * 1024
"""Bytes of a bundle at most."""
FILES = 1000
"""Files in it at most."""
FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\.yaml")


class DefinitionTrial(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change of the definitions that goes out in stages."""

    version: str
    files: dict[str, str]
    below: float
    """Edges whose rank for `version` is below this take it in, see `driftline.fleet.rollout`."""
    stage: int = 0
    since: float = 0.0
    """Seconds since the epoch when this stage began."""


class DefinitionBundle(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All definitions that the cloud gives to its edges."""

    version: str
    """Names the content: see `version_of`."""
    number: int
    """Grows with every bundle: an edge takes no older one than it has."""
    files: dict[str, str]
    """By file name its text."""
    trial: DefinitionTrial | None = None
    """A change that some edges take in first; all others have `files`."""

    def version_for(self, edge: str, labels: Mapping[str, str]) -> str:
        """Names the content that an edge has to take in."""
        return self.trial.version if self._is_tried_by(edge, labels) and self.trial else self.version

    def files_for(self, edge: str, labels: Mapping[str, str]) -> dict[str, str]:
        """What an edge has to take in."""
        return self.trial.files if self._is_tried_by(edge, labels) and self.trial else self.files

    def _is_tried_by(self, edge: str, labels: Mapping[str, str]) -> bool:
        return self.trial is not None and rank(edge, self.trial.version, labels, {}) < self.trial.below


def version_of(files: Mapping[str, str]) -> str:
    """The first 12 digits of the content's sha256."""
    return hashlib.sha256(msgspec.json.encode(dict(sorted(files.items())))).hexdigest()[:12]


def read_bundle(payload: bytes, trust: Trust, *, newest: int = 0) -> DefinitionBundle:
    """The bundle in a note, if somebody trusted signed it and all of its files can be used. newest: number of the one
    that the edge has. Raises RefusedNote."""
    bundle = opened(payload, DefinitionBundle, trust)
    if bundle.number < newest:
        raise RefusedNote(f"definitions: found number {bundle.number}, expected at least {newest}: it is an old one")
    _check_content(bundle.version, bundle.files)
    if bundle.trial is not None:
        _check_content(bundle.trial.version, bundle.trial.files)
    return bundle


def _check_content(named: str, files: Mapping[str, str]) -> None:
    if (version := version_of(files)) != named:
        raise RefusedNote(f"definitions: found content {version}, expected {named}")
    check(files)


def read_files(folder: Path) -> dict[str, str]:
    """The definitions' texts in a folder, by file name. Raises OSError, UnicodeDecodeError."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))}


def check(files: Mapping[str, str]) -> None:
    """Raises RefusedNote where a file can't be used, alone or together with the others, or for too many."""
    if len(files) > FILES:
        raise RefusedNote(f"definitions: found {len(files)} files, expected at most {FILES}")
    streams = DefinedStreams()
    for name, text in sorted(files.items()):
        if not FILE_NAME.fullmatch(name):
            raise RefusedNote(f"definitions: found file {name[:100]!r}, expected a name such as attic.yaml")
        try:
            reason = streams.add(PurePath(name), parse(text, name))
        except InvalidDefinition as error:
            raise RefusedNote(f"definitions: {error}") from error
        if reason is not None:
            raise RefusedNote(f"definitions: {reason}")
