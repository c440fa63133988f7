"""A seeded sensor of a house: days, weeks, holidays, temperature, growth, and a gateway that was silent for days."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from driftline.arrays import Floats, Ints, Mask
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows

ZONE = "Europe/Berlin"
HOLIDAYS = frozenset({(1, 1), (5, 1), (10, 3), (12, 25), (12, 26)})
"""Month and day; those of Germany that are on the same day every year."""
STREAM = """
name: house
time: {{column: time, zone: {zone}, period: {period}}}
target: load
features: {{temperature: level}}
horizon: {horizon}
"""


def definition(period: str = "1h", horizon: tuple[int, ...] = (1,)) -> StreamDefinition:
    return parse(STREAM.format(zone=ZONE, period=period, horizon=list(horizon)), "house")


def generated(
    days: int,
    *,
    period_s: int = 3600,
    begin: datetime = datetime(2026, 1, 1, tzinfo=UTC),
    outage: tuple[int, int] | None = None,
    growth: float = 0.1,
    noise: float = 0.02,
    seed: int = 0,
) -> Rows:
    """Records of one key: the load, about 1, and the temperature that it depends on, in degrees Celsius.

    outage: the day on which it begins, and how many days without a record. growth: of the load in a year, as a share.
    noise: deviation of what nothing explains. Working days have another course than weekends and holidays.
    """
    random = np.random.default_rng(seed)
    offsets = np.arange(0, days * 86400, period_s)
    local = [(begin + timedelta(seconds=int(offset))).astimezone(ZoneInfo(ZONE)) for offset in offsets]
    hour = np.array([time.hour + time.minute / 60 for time in local])
    idle = np.array([time.weekday() > 4 or (time.month, time.day) in HOLIDAYS for time in local])
    year = offsets / (365.25 * 86400)
    temperature = 10 - 10 * np.cos(2 * np.pi * year) + 4 * _course(hour, 15) + _wandering(random, len(offsets))
    working = 0.6 + 0.4 * _course(hour, 13) + 0.15 * _course(2 * hour, 18)
    resting = 0.4 + 0.15 * _course(hour, 19)
    load = np.where(idle, resting, working) * (1 + growth * year) + 0.02 * np.maximum(15 - temperature, 0)
    load += noise * random.standard_normal(len(load))
    t: Ints = int(begin.timestamp() * 1000) + 1000 * offsets
    rows = Rows(np.full(len(t), "all"), t, np.column_stack([load, temperature]))
    return rows if outage is None else rows.take(~_silent(offsets, *outage))


def _course(hour: Floats, peak: float) -> Floats:
    """In [-1, 1]."""
    return np.cos(2 * np.pi * (hour - peak) / 24)


def _wandering(random: np.random.Generator, n: int) -> Floats:
    """Weather: it forgets itself over some hundred records."""
    steps = random.standard_normal(n)
    weather = np.zeros(n)
    for i in range(1, n):
        weather[i] = 0.99 * weather[i - 1] + 0.4 * steps[i]
    return weather


def _silent(offsets: Ints, day: int, days: int) -> Mask:
    return (offsets >= day * 86400) & (offsets < (day + days) * 86400)
