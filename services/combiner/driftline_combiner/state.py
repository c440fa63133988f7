"""What is kept of the series of a stream, and what is saved of one of them. Pure."""

from typing import NamedTuple

import msgspec

from driftline.worker.late_truths import LateTruths
from driftline_combiner.intervals import Intervals
from driftline_combiner.ledger import Ledger

STATE = 3
"""Counted up when what is saved of a series changes its shape."""


class BlendTables(NamedTuple):
    """The state of all series of a stream, one row ("slot") each."""

    ledger: Ledger
    intervals: Intervals
    late: LateTruths


class SavedBlendState(msgspec.Struct, frozen=True, array_like=True):
    """The checkpoint of one series."""

    definition: str
    t: int
    arrays: bytes
    detectors: list[bytes]
    heard: int | None = None
