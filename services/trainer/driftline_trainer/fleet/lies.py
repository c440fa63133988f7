"""Which heartbeats are not believed, and why. Pure: a heartbeat is what anybody may have written."""

from collections.abc import Iterator
from typing import Any, Final, Literal, get_args

import msgspec

from driftline.errors import RefusedModel, RefusedNote
from driftline.fleet.heartbeat import MOST_PARTS, Heartbeat
from driftline.fleet.notes import opened
from driftline.models.signing import Trust

Lie = Literal["size", "form", "edge", "numbers", "order", "signature", "registration", "revoked", "many"]
LIES: Final[tuple[Lie, ...]] = get_args(Lie)
"""Few, since they are labels of a metric."""

LARGEST = 2.0**53
"""Of any number: beyond it JSON's readers disagree."""
LATEST_S = 1e11
"""Of any time in seconds since the epoch: the year 5138. A clock may be years off; this is no clock."""
LONGEST_EVERY_S = 86_400.0
LONGEST_TEXT = 2_000
LONGEST_NAME = 200
"""Characters of an id, a name, a version, a label, or of what else a list shows."""


class RefusedHeartbeat(RefusedNote):
    """A heartbeat that is not believed. reason: one of LIES."""

    def __init__(self, reason: Lie, detail: str) -> None:
        super().__init__(detail)
        self.reason: Lie = reason


def believed(payload: bytes, edge: str, trust: Trust | None) -> Heartbeat:
    """The heartbeat that lies under an edge's key. trust: whose signature it must bear; None for anybody's or none.
    Raises RefusedHeartbeat."""
    try:
        heartbeat = opened(payload, Heartbeat, trust)
    except RefusedNote as error:
        reason: Lie = "signature" if isinstance(error.__cause__, RefusedModel) else "form"
        raise RefusedHeartbeat(reason, str(error)) from error
    except (RecursionError, ValueError, OverflowError) as error:
        raise RefusedHeartbeat("form", f"expected a Heartbeat: {type(error).__name__}") from error
    if heartbeat.edge != edge:
        raise RefusedHeartbeat("edge", f"found a heartbeat of edge {_short(heartbeat.edge)}, expected one of {edge!r}")
    wrong = next(_absurd(heartbeat), None)
    if wrong is not None:
        raise RefusedHeartbeat("numbers", wrong)
    return heartbeat


def _absurd(heartbeat: Heartbeat) -> Iterator[str]:
    """What no edge has to say, a sentence each."""
    yield from _out_of_bounds("", msgspec.to_builtins(heartbeat))
    if not 0 < heartbeat.every <= LONGEST_EVERY_S:
        yield f"every: found {heartbeat.every}, expected more than 0 and at most {LONGEST_EVERY_S:.0f} seconds"
    if heartbeat.number < 1:
        yield f"number: found {heartbeat.number}, expected 1 or more"
    for name in ("edge", "name", "boot", "software"):
        if len(getattr(heartbeat, name)) > LONGEST_NAME:
            yield f"{name}: found more than {LONGEST_NAME} characters"
    yield from _times(heartbeat)
    yield from _shares(heartbeat)
    yield from _amounts(heartbeat)


def _out_of_bounds(path: str, value: Any) -> Iterator[str]:
    """Numbers, texts and lists of whatever is in there, at any depth."""
    match value:
        case bool() | None:
            return
        case int() | float():
            # Written so that NaN is out of bounds, too.
            if not abs(value) <= LARGEST:
                yield f"{path}: found a number that is not finite or beyond 2^53"
        case str():
            if len(value) > LONGEST_TEXT:
                yield f"{path}: found {len(value)} characters, expected at most {LONGEST_TEXT}"
        case dict() | list():
            yield from _parts_out_of_bounds(path, value)


def _parts_out_of_bounds(path: str, value: dict[str, Any] | list[Any]) -> Iterator[str]:
    if len(value) > MOST_PARTS:
        yield f"{path}: found {len(value)} entries, expected at most {MOST_PARTS}"
        return
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for name, part in parts:
        if isinstance(name, str) and len(name) > LONGEST_NAME:
            yield f"{path}: found a name of {len(name)} characters, expected at most {LONGEST_NAME}"
            return
        yield from _out_of_bounds(f"{path}.{name}" if path else str(name), part)


def _times(heartbeat: Heartbeat) -> Iterator[str]:
    times = {"at": heartbeat.at, "started": heartbeat.started}
    times |= {f"models.{name}.since": model.since or 0.0 for name, model in heartbeat.models.items()}
    for name, seconds in times.items():
        if not 0 <= seconds <= LATEST_S:
            yield f"{name}: found {seconds}, expected seconds since the epoch"


def _shares(heartbeat: Heartbeat) -> Iterator[str]:
    for name, stream in heartbeat.streams.items():
        if any(skill > 1 for skill in stream.skill.values()):
            yield f"streams.{name}.skill: found more than 1, which no forecast has"
        if not all(0 <= share <= 1 for share in stream.coverage.values()):
            yield f"streams.{name}.coverage: found no share between 0 and 1"


def _amounts(heartbeat: Heartbeat) -> Iterator[str]:
    amounts = {name: getattr(heartbeat, name) or 0 for name in ("disk_free", "disk_total", "memory", "lag")}
    for name, stream in heartbeat.streams.items():
        amounts |= {f"streams.{name}.keys": stream.keys, f"streams.{name}.scored": stream.scored}
    for name, model in heartbeat.models.items():
        amounts |= {f"models.{name}.truths": comparison.truths for comparison in model.comparisons}
    for gap in heartbeat.gaps:
        amounts[f"gaps.{gap.stream}.count"] = gap.count
    for name, amount in amounts.items():
        if amount < 0:
            yield f"{name}: found {amount}, expected 0 or more"


def _short(text: str) -> str:
    return repr(text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}...")
