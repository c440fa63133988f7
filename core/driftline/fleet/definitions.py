"""The fleet's stream definitions: one signed note with the text of every file. Pure.

definitions/current.json
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import PurePath

import msgspec

from driftline.errors import InvalidDefinition, RefusedNote
from driftline.fleet.notes import opened
from driftline.models.signing import Trust
from driftline.streams.definition_files import DefinedStreams, parse

FOLDER = "definitions/"
KEY = f"{FOLDER}current.json"
LIMIT = 4 * 1024 * 1024
"""Bytes of a bundle at most."""
FILES = 1000
"""Files in it at most."""
FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\.yaml")


class DefinitionBundle(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All definitions that the cloud gives to its edges."""

    version: str
    """Names the content: see `version_of`."""
    number: int
    """Grows with every bundle: an edge takes no older one than it has."""
    files: dict[str, str]
    """By file name its text."""
    below: float = 1.0
    """Edges whose rank for `version` is below this are meant; reserved for changes in stages, and 1 until then."""
    first: dict[str, str] = {}
    """Labels of the edges that come first; reserved, too."""


def version_of(files: Mapping[str, str]) -> str:
    """The first 12 digits of the content's sha256."""
    return hashlib.sha256(msgspec.json.encode(dict(sorted(files.items())))).hexdigest()[:12]


def read_bundle(payload: bytes, trust: Trust, *, newest: int = 0) -> DefinitionBundle:
    """The bundle in a note, if somebody trusted signed it and all of its files can be used. newest: number of the one
    that the edge has. Raises RefusedNote."""
    bundle = opened(payload, DefinitionBundle, trust)
    if bundle.number < newest:
        raise RefusedNote(f"definitions: found number {bundle.number}, expected at least {newest}: it is an old one")
    if (version := version_of(bundle.files)) != bundle.version:
        raise RefusedNote(f"definitions: found content {version}, expected {bundle.version}")
    if len(bundle.files) > FILES:
        raise RefusedNote(f"definitions: found {len(bundle.files)} files, expected at most {FILES}")
    check(bundle.files)
    return bundle


def check(files: Mapping[str, str]) -> None:
    """Raises RefusedNote where a file can't be used, alone or together with the others."""
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
