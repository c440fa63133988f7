"""Definitions in files: one says what a stream's records look like and how they are forecast.

Pure: `parse` takes text. Errors name the file, the line, the key, what was found and what was expected.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any, Final

import yaml
from pydantic import ValidationError

from driftline.errors import InvalidDefinition
from driftline.streams import sources
from driftline.streams.definition import StreamDefinition

log = logging.getLogger(__name__)
FAST: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str, source: str) -> StreamDefinition:
    """The definition in YAML `text`, of one stream or with `targets`. `source` names it in errors. Raises
    InvalidDefinition."""
    try:
        content = _read(text, yaml.load)
    except yaml.YAMLError as error:
        raise InvalidDefinition(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InvalidDefinition(f"{source}: found {type(content).__name__}, expected keys and values such as `name: …`")
    try:
        return StreamDefinition.model_validate(content)
    except ValidationError as error:
        tree = _read(text, yaml.compose)
        raise InvalidDefinition("\n".join(_explain(detail, tree, source) for detail in error.errors())) from error


def _read(text: str, read: Callable[..., Any]) -> Any:
    """By libyaml where PyYAML has it, in a tenth of the time: a service reads its definitions as it starts. What that
    refuses, PyYAML's own parser decides, and explains better. read: yaml.load or yaml.compose."""
    try:
        return read(text, Loader=FAST)
    except yaml.YAMLError:
        return read(text, Loader=yaml.SafeLoader)


def load(path: Path) -> StreamDefinition:
    """The definition in the file `path`; a key that comes twice is logged. Raises InvalidDefinition."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDefinition(f"{path}: can't be read: {error}") from error
    definition = parse(text, str(path))
    # YAML takes the later one without a word. Definitions that people have must go on working, so it is no error.
    for key in _repeated(_read(text, yaml.compose), set()):
        line = key.start_mark.line + 1
        log.warning("%s: line %d: found %r for the second time, which alone counts", path, line, key.value)
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


def _explain(detail: Any, tree: yaml.Node | None, source: str) -> str:
    path = tuple(str(part) for part in detail["loc"])
    line = _line(tree, path)
    key = ".".join(path)
    where = f"{source}: line {line}" + (f": {key}" if key else "")
    if detail["type"] == "missing":
        return f"{where}: found nothing, expected this key"
    if detail["type"] == "extra_forbidden":
        return f"{where}: found a key that no stream definition has"
    message = detail["msg"].removeprefix("Value error, ")
    if not path:
        return f"{where}: {message}"
    expected = message if message.startswith("expected") else f"expected: {message}"
    return f"{where}: found {detail['input']!r}, {expected}"


def _repeated(node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.ScalarNode]:
    """Keys that their mapping has had before. seen: what was looked at, as aliases name one part again."""
    if id(node) in seen:
        return
    seen.add(id(node))
    match node:
        case yaml.MappingNode(value=pairs):
            known: set[str] = set()
            for key, value in pairs:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in known:
                        yield key
                    known.add(key.value)
                yield from _repeated(value, seen)
        case yaml.SequenceNode(value=items):
            for item in items:
                yield from _repeated(item, seen)


def _line(node: yaml.Node | None, path: tuple[str, ...]) -> int:
    """The line of the deepest key of `path` that the file has."""
    line = 1
    for part in path:
        if not isinstance(node, yaml.MappingNode):
            break
        pair = next(((k, v) for k, v in node.value if k.value == part), None)
        if pair is None:
            break
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line
