"""The streams of a definition with several targets: how each is named. Pure."""

import re
from collections.abc import Sequence

from driftline.streams.definition_values import NAME


def name_of(definition: str, target: str) -> str:
    """The stream of one of several targets: lower case, and dashes for all that no name has."""
    return f"{definition}-{re.sub('[^a-z0-9]+', '-', target.lower()).strip('-')}"


def check(definition: str, targets: Sequence[str]) -> None:
    """Raises ValueError where two streams would have the same name, or one would have a name that no stream can."""
    names = [name_of(definition, target) for target in targets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"targets: found two whose stream would be {twice[0]!r}, expected different names")
    impossible = [name for name in names if re.fullmatch(NAME, name) is None]
    if impossible:
        raise ValueError(f"targets: found a stream {impossible[0]!r}, expected a name of at most 63 characters")
