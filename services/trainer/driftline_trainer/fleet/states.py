"""Whether an edge is alive, by when it was heard last. Pure."""

from typing import Final, Literal, get_args

EdgeState = Literal["live", "late", "silent"]
STATES: Final[tuple[EdgeState, ...]] = get_args(EdgeState)
LIVE = 2.0
"""Intervals between two heartbeats within which an edge is live: one may get lost."""
LATE = 5.0
"""... within which it is late, and after which it is silent."""
EVERY_S = 60.0
"""The interval of an edge that has never said its own."""


def state_of(last: float | None, every: float, now: float) -> EdgeState:
    """last: when the edge was heard last, None for never; every: seconds between its heartbeats."""
    if last is None:
        return "silent"
    missing = (now - last) / every
    if missing <= LIVE:
        return "live"
    return "late" if missing <= LATE else "silent"


def counted(states: list[EdgeState]) -> dict[EdgeState, int]:
    """How many edges are in each state; of none, too."""
    return {state: states.count(state) for state in STATES}
