"""Definitions in files: one says what a stream's records look like and how they are forecast.

Pure: `parse` takes text. Errors name the file, the line, the key, what was found and what was expected.
"""

import logging
from pathlib import Path, PurePath

import yaml
from pydantic import ValidationError

from driftline import yaml_text
from driftline.errors import InvalidDefinition
from driftline.streams import definition_errors, sources
from driftline.streams.definition import StreamDefinition

log = logging.getLogger(__name__)


def parse(text: str, source: str) -> StreamDefinition:
    """The definition in YAML `text`, of one stream or with `targets`. `source` names it in errors. Raises
    InvalidDefinition."""
    try:
        content = yaml_text.read(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidDefinition(definition_errors.not_yaml(error, source)) from error
    if not isinstance(content, dict):
        raise InvalidDefinition(f"{source}: found {type(content).__name__}, expected keys and values such as `name: …`")
    try:
        return StreamDefinition.model_validate(content)
    except ValidationError as error:
        tree = yaml_text.read(text, yaml.compose)
        raise InvalidDefinition(definition_errors.explained(error, tree, source)) from error


def load(path: Path) -> StreamDefinition:
    """The definition in the file `path`; a key that comes twice is logged, and so is a target that is an angle. Raises
    InvalidDefinition."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDefinition(f"{path}: can't be read: {error}") from error
    definition = parse(text, str(path))
    # Definitions that people have must go on working, so it is no error.
    for line, key in yaml_text.repeated_keys(text):
        log.warning("%s: line %d: found %r for the second time, which alone counts", path, line, key)
    for target in definition.targets or (definition.target,):
        if definition.features.get(target) == "angle":
            log.warning(
                "%s: found the target %r among the features as an angle: %s", path, target, definition_errors.AS_NUMBER
            )
    return definition


def load_folder(folder: Path) -> dict[str, StreamDefinition]:
    """Every stream in `folder`, by its name. Raises InvalidDefinition, also when there is none."""
    files = DefinedStreams()
    for path in sorted(folder.glob("*.yaml")):
        if (reason := files.add(path, load(path))) is not None:
            raise InvalidDefinition(reason)
    if not files.streams:
        raise InvalidDefinition(f"{folder}: found no *.yaml file, expected at least one stream definition")
    return files.streams


class DefinedStreams:
    """The streams of some files, as far as they fit together."""

    def __init__(self) -> None:
        self.streams: dict[str, StreamDefinition] = {}
        self._files: dict[str, str] = {}

    def add(self, path: PurePath, definition: StreamDefinition) -> str | None:
        """Takes in what a file defines, or says why that can't be used together with the other files."""
        for stream in definition.streams:
            if stream.name in self.streams:
                return f"{path}: name: found {stream.name!r}, which another file has already"
            known = ((self._files[name], other) for name, other in self.streams.items())
            if (reason := sources.refusal(stream, str(path), known)) is not None:
                return reason
        for stream in definition.streams:
            self.streams[stream.name] = stream
            self._files[stream.name] = path.name
        return None
