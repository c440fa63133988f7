"""YAML that people write, read fast and looked at for keys that come twice. Pure.

Both raise yaml.YAMLError, ValueError for numbers and days that there can't be, and RecursionError.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import yaml

FAST: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEEPEST: Final = 100
"""Lists and mappings in each other. libyaml takes a call of C for each, and without a bound a process would die."""


def read(text: str, how: Callable[..., Any] = yaml.load) -> Any:
    """By libyaml where PyYAML has it, in a tenth of the time: a service reads its definitions as it starts. What that
    refuses, PyYAML's own parser decides, and explains better. how: yaml.load or yaml.compose."""
    try:
        _check_depth(text)
        return how(text, Loader=FAST)
    except yaml.YAMLError:
        return how(text, Loader=yaml.SafeLoader)


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=FAST):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise RecursionError(f"found more than {DEEPEST} lists and mappings in each other")


def repeated_keys(text: str) -> Iterator[tuple[int, str]]:
    """Line and key of those that their mapping has had before: YAML takes the later one without a word."""
    for key in _repeated(read(text, yaml.compose), set()):
        yield key.start_mark.line + 1, key.value


def _repeated(node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.ScalarNode]:
    """seen: what was looked at, as aliases name one part again."""
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
