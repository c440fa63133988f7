"""Topic filters of MQTT, in which a placeholder such as `{key}` stands for a level that is wanted. Pure."""

from collections.abc import Sequence

COLUMN = "{column}"
PLACEHOLDERS = ("{key}", "{group}", COLUMN)
ANY, REST = "+", "#"
LONGEST = 65_535
"""Bytes of a filter."""


def check(topics: str) -> None:
    """Raises ValueError for what no broker takes, or what does not say which level a placeholder is."""
    levels = topics.split("/")
    if "\0" in topics or len(topics.encode()) > LONGEST:
        raise ValueError(f"found {topics[:80]!r}, expected at most {LONGEST} bytes without NUL")
    for placeholder in PLACEHOLDERS:
        if topics.count(placeholder) > 1:
            raise ValueError(f"found {placeholder} twice in {topics!r}, expected it once")
    for level in levels:
        special = next((part for part in (*PLACEHOLDERS, ANY, REST) if part in level), None)
        if special is not None and level != special:
            raise ValueError(f"found {level!r} in {topics!r}, expected {special} alone between two slashes")
    if REST in levels[:-1]:
        raise ValueError(f"found {REST} in the middle of {topics!r}, expected it at the end alone")


def plain(topics: str) -> str:
    """As a broker takes it."""
    return "/".join(ANY if level in PLACEHOLDERS else level for level in topics.split("/"))


def covers(one: str, other: str) -> bool:
    """Whether every topic of `other` is one of `one`, too."""
    return _covers(plain(one).split("/"), plain(other).split("/"))


def _covers(one: Sequence[str], other: Sequence[str]) -> bool:
    for depth, level in enumerate(one):
        if level == REST:
            # It stands for what is above it, as well.
            return True
        if depth >= len(other) or other[depth] == REST or level not in {ANY, other[depth]}:
            return False
    return len(one) == len(other)
