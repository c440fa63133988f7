"""Definitions in files: one says what a stream's records look like and how they are forecast.

Pure: `parse` takes text. Errors name the file, the line, the key, what was found and what was expected.
"""

from pathlib import Path, PurePath
from typing import Any, Final

import yaml
from pydantic import ValidationError

from driftline.errors import InvalidDefinition
from driftline.streams import sources
from driftline.streams.definition import StreamDefinition

FAST: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str, source: str) -> StreamDefinition:
    """The definition in YAML `text`, of one stream or with `targets`. `source` names it in errors. Raises
    InvalidDefinition."""
    try:
        content = _content(text)
    except yaml.YAMLError as error:
        raise InvalidDefinition(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InvalidDefinition(f"{source}: found {type(content).__name__}, expected keys and values such as `name: …`")
    try:
        return StreamDefinition.model_validate(content)
    except ValidationError as error:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        raise InvalidDefinition("\n".join(_explain(detail, tree, source) for detail in error.errors())) from error


def _content(text: str) -> Any:
    """By libyaml where PyYAML has it, in a tenth of the time: a service reads its definitions as it starts. What that
    refuses, PyYAML's own parser decides, and explains better."""
    try:
        return yaml.load(text, Loader=FAST)  # noqa: S506 - a safe one
    except yaml.YAMLError:
        return yaml.safe_load(text)


def load(path: Path) -> StreamDefinition:
    """The definition in the file `path`. Raises InvalidDefinition."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDefinition(f"{path}: can't be read: {error}") from error
    return parse(text, str(path))


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
