"""Which stream is meant: a definition's file, or a name."""

import os
from pathlib import Path

from driftline.errors import InvalidInput
from driftline.streams import definition_files
from driftline.streams.definition import StreamDefinition

FOLDER = "DRIFTLINE_STREAMS"
BY_DEFAULT = "streams"


def defined(given: str) -> StreamDefinition:
    """The definition in a file, or that of a name in the folder of definitions. Raises InvalidInput."""
    if _is_file(given):
        return definition_files.load(Path(given))
    folder = Path(os.environ.get(FOLDER) or BY_DEFAULT)
    definitions = definition_files.load_folder(folder) if folder.is_dir() else {}
    if given not in definitions:
        known = ", ".join(sorted(definitions)) or "none"
        raise InvalidInput(f"found no stream {given!r}, expected a definition's file or a name in {folder}: {known}")
    return definitions[given]


def named(given: str | None) -> str | None:
    """The stream's name, where one is given at all."""
    return definition_files.load(Path(given)).name if given is not None and _is_file(given) else given


def _is_file(given: str) -> bool:
    """Whether a file is meant, also one that is not there: no stream's name has a slash or ends like that."""
    return os.sep in given or given.endswith((".yaml", ".yml")) or Path(given).is_file()
