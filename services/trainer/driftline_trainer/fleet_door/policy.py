"""What an edge may do in the object store. Pure.

It reads models and definitions, and what is its own; it writes what carries its own id, and models nobody's.
"""

import re
from collections.abc import Callable
from typing import Final, Literal

from driftline.fleet import definitions
from driftline.fleet.names import heartbeat_key, state_prefix
from driftline.fleet.notes import NOTE_LIMIT
from driftline.store import object_names, windows

Verb = Literal["get", "put", "delete", "list", "watch"]
Policy = Callable[[str, Verb, str], str | None]
"""Of an edge's id, a verb, and a key or a prefix: why it may not, or None."""

ARCHIVES: Final = ("windows", "results", "futures")
MODELS: Final = "models/"
SECRET_FILES: Final = re.compile(r"models/[^/]+/[^/]+/(?:edges/.*|refused/.*|rollouts/.*|[^/]+/weights\b.*)")
"""Below models/ what is no edge's business: notes of others, the trainer's own, and rows that a training replays."""
WINDOW_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of an archived window at most."""
STATE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a file of learned state at most."""
MARK_LIMIT: Final = 64 * 1024
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

MAY: Final = {
    "get": "an edge reads models, definitions, and its own heartbeat, notes, states and archive",
    "put": "an edge writes its own heartbeat, notes, states, and windows, results and futures under its own id",
    "delete": "an edge deletes its own states",
    "list": "an edge lists models, definitions, its own states, and what it has archived of a series",
    "watch": "an edge watches models and definitions",
}


def refusal(edge: str, verb: Verb, key: str) -> str | None:
    """Why `edge` may not do that with `key`, or None. For a list and a watch `key` is a prefix."""
    if _is_odd(verb, key) or not _MAY[verb](edge, key):
        return f"edge {edge} may not {verb} {key[:200]!r}: {MAY[verb]}"
    return None


def limit(key: str) -> int:
    """Bytes at most of what an edge puts there."""
    if is_archived(key):
        return WINDOW_LIMIT
    if key.startswith(MODELS):
        return MARK_LIMIT
    return NOTE_LIMIT if key.startswith("edges/") else STATE_LIMIT


def is_archived(key: str) -> bool:
    """Whether an object there is written once and for all."""
    return key.partition("/")[0] in ARCHIVES


def _is_odd(verb: Verb, key: str) -> bool:
    """A key that no two readers need read alike: with hidden or empty parts, with parts that lead upwards, or with
    control characters."""
    whole = key.removesuffix("/") if verb in {"list", "watch"} else key
    hidden = any(part.startswith(".") for part in key.split("/"))
    return hidden or CONTROL.search(key) is not None or object_names.refusal(whole) is not None


def _is_note(edge: str, key: str) -> bool:
    parts = key.split("/")
    return len(parts) == 5 and parts[0] == "models" and parts[3:] == ["edges", f"{edge}.json"]  # noqa: PLR2004


def _is_state(edge: str, key: str) -> bool:
    return key.startswith(state_prefix(edge))


def _is_mutable(edge: str, key: str) -> bool:
    return key == heartbeat_key(edge) or _is_note(edge, key) or _is_state(edge, key)


def _is_own_window(edge: str, key: str) -> bool:
    parts = key.split("/")
    window = windows.parse(parts[-1])
    return len(parts) == 4 and parts[0] in ARCHIVES and window is not None and window.edge == edge  # noqa: PLR2004


def _reads(edge: str, key: str) -> bool:
    if key.startswith(MODELS):
        return _is_note(edge, key) or not SECRET_FILES.fullmatch(key)
    return key == definitions.KEY or _is_mutable(edge, key) or _is_own_window(edge, key)


def _writes(edge: str, key: str) -> bool:
    return _is_mutable(edge, key) or _is_own_window(edge, key)


def _lists(edge: str, prefix: str) -> bool:
    return _watches(edge, prefix) or prefix.startswith(state_prefix(edge)) or _is_of_series(prefix)


def _is_of_series(prefix: str) -> bool:
    """The archive of one series. Of what is listed an edge sees what it may read: its own."""
    parts = prefix.split("/")
    return len(parts) == 4 and parts[0] in ARCHIVES and not parts[3]  # noqa: PLR2004


def _watches(_: str, prefix: str) -> bool:
    return prefix.startswith((MODELS, definitions.FOLDER))


_MAY: Final[dict[Verb, Callable[[str, str], bool]]] = {
    "get": _reads,
    "put": _writes,
    "delete": _is_state,
    "list": _lists,
    "watch": _watches,
}
