"""What is wrong with a definition's text, in a line of bounded length a mistake: where, found and expected. Pure."""

import reprlib
from datetime import date
from typing import Any, Final

import yaml
from pydantic import ValidationError

SHOWN: Final = 120
"""Characters of what was found that a mistake repeats."""
MOST: Final = 20
"""Mistakes of one text that are told."""
AS_NUMBER: Final = (
    "a target is forecast as a plain number, for which 359 to 1 is a jump; "
    "send its sine and cosine, and forecast them as two `targets`"
)
"""What there is to say of a target that is an angle."""
DIGITS: Final = 10**SHOWN
BRIEF: Final = reprlib.Repr()
"""Of a list of aliases to one long text, too, it writes no more than it shows."""
BRIEF.maxlist = BRIEF.maxdict = BRIEF.maxset = BRIEF.maxtuple = SHOWN // 2
BRIEF.maxstring = BRIEF.maxother = BRIEF.maxlong = 3 * SHOWN


def explained(error: ValidationError, tree: yaml.Node | None, source: str) -> str:
    """tree: of the text, which knows the lines. source: its name."""
    details = error.errors()
    lines = [_explained(detail, tree, source) for detail in details[:MOST]]
    further = [f"{source}: found {len(details) - MOST} more such mistakes"] if len(details) > MOST else []
    return "\n".join([*lines, *further])


def not_yaml(error: Exception, source: str) -> str:
    """Of text that can't even be read."""
    if isinstance(error, RecursionError):
        return f"{source}: found lists or keys in each other without end, expected keys and values such as `name: …`"
    return f"{source}: not YAML: {_cut(' '.join(str(error).split()), 4 * SHOWN)}"


def _explained(detail: Any, tree: yaml.Node | None, source: str) -> str:
    path = tuple(str(part) for part in detail["loc"])
    line = _line(tree, path)
    key = _cut(".".join(path))
    where = f"{source}: line {line}" + (f": {key}" if key else "")
    if detail["type"] == "missing":
        return f"{where}: found nothing, expected this key"
    if detail["type"] == "extra_forbidden":
        return f"{where}: found a key that no stream definition has"
    message = detail["msg"].removeprefix("Value error, ")
    if not path:
        return f"{where}: {message}"
    expected = message if message.startswith("expected") else f"expected: {message}"
    return f"{where}: found {_written(detail['input'])}, {expected}"


def _written(value: object) -> str:
    """Of parts that have parts only how many they are: by aliases a few lines make billions, or one that holds
    itself."""
    match value:
        case dict() if any(map(_has_parts, value.values())):
            return f"a section of {_counted(len(value), 'key')}"
        case list() if any(map(_has_parts, value)):
            return f"a list of {_counted(len(value), 'value')}"
        case date():
            return value.isoformat()
        case int() if abs(value) >= DIGITS:
            return f"a number of more than {SHOWN} digits"
    return _cut(BRIEF.repr(value))


def _has_parts(value: object) -> bool:
    return isinstance(value, dict | list | set | tuple)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _cut(text: str, most: int = SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


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
