"""Which stream is meant: a definition's file, or a name."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from driftline.errors import InvalidInput
from driftline.streams import definition_files
from driftline.streams.definition import StreamDefinition
from driftline.streams.sources import joined

FOLDER = "DRIFTLINE_STREAMS"
BY_DEFAULT = "streams"


def defined(given: str) -> StreamDefinition:
    """The definition in a file, or that of a name in the folder of definitions. Raises InvalidInput, also where several
    streams are meant."""
    if _is_file(given):
        return _only(definition_files.load(Path(given)).streams, given)
    definitions = _in_folder()
    if given in definitions:
        return definitions[given]
    return _only(_streams_of(given, definitions), given)


def sent(given: str) -> StreamDefinition:
    """The source of what is meant, with the columns of all its streams: what is sent to ingest. A source may be meant
    by its own name, too. Raises InvalidInput."""
    if _is_file(given):
        return joined(definition_files.load(Path(given)).streams)
    definitions = _in_folder()
    return joined(_streams_of(definitions[given].source if given in definitions else given, definitions))


def named(given: str | None) -> str | None:
    """The stream's name, where one is given at all. Raises InvalidInput where a file defines several."""
    if given is None or not _is_file(given):
        return given
    return _only(definition_files.load(Path(given)).streams, given).name


def source(given: str) -> str:
    """The name that records of what is meant are sent under. Raises InvalidInput for a file that is none."""
    return sent(given).source if _is_file(given) else given


def _folder() -> Path:
    return Path(os.environ.get(FOLDER) or BY_DEFAULT)


def _in_folder() -> dict[str, StreamDefinition]:
    folder = _folder()
    return definition_files.load_folder(folder) if folder.is_dir() else {}


def _streams_of(source: str, definitions: Mapping[str, StreamDefinition]) -> list[StreamDefinition]:
    """The streams of a source. Raises InvalidInput where there is none of that name."""
    streams = [stream for stream in definitions.values() if stream.source == source]
    if not streams:
        known = ", ".join(sorted(definitions)) or "none"
        raise InvalidInput(
            f"found no stream {source!r}, expected a definition's file or a name in {_folder()}: {known}"
        )
    return streams


def _only(streams: Sequence[StreamDefinition], given: str) -> StreamDefinition:
    if len(streams) > 1:
        names = ", ".join(stream.name for stream in streams)
        raise InvalidInput(f"found {len(streams)} streams in {given}, expected the name of one: {names}")
    return streams[0]


def _is_file(given: str) -> bool:
    """Whether a file is meant, also one that is not there: no stream's name has a slash or ends like that."""
    return os.sep in given or given.endswith((".yaml", ".yml")) or Path(given).is_file()
