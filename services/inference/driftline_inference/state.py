"""What is kept of the series of a stream, and what is saved of one of them. Pure."""

from typing import NamedTuple

import msgspec

from driftline.messages import Record
from driftline.streams.features import History
from driftline.streams.futures import Foreseen
from driftline.worker.late_truths import LateTruths
from driftline_inference.rls import Filters, Waiting
from driftline_inference.sensor_health import SensorHealth

STATE = 4
"""Counted up when what is saved of a series changes its shape."""


class ForecastTables(NamedTuple):
    """The state of all series of a stream, one row ("slot") each."""

    history: History
    waiting: Waiting
    rls: Filters
    stack: Filters
    health: SensorHealth
    late: LateTruths
    foreseen: Foreseen
    """Empty where the stream has no futures, which leaves what is saved as it is."""


class SavedForecastState(msgspec.Struct, frozen=True, array_like=True):
    """The checkpoint of one series."""

    definition: str
    t: int
    arrays: bytes
    rls: bytes
    stack: bytes
    heard: int | None = None
    group: str = ""
    """Of its neighbours; empty where it has none."""
    waiting: tuple[Record, ...] = ()
    """Records that wait for others of the group."""
