"""A day and a week ago are the same local time, through both changes of summer time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.features import Inputs, observe
from driftline.streams.history import History
from driftline.streams.layout import DAYS, Layout

SPRING, AUTUMN = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)
"""Of Europe, where summer time begins and ends."""
LAGS = 3


def definition(zone: str, period: str = "1h", horizon: tuple[int, ...] = (1, 24, 30)) -> StreamDefinition:
    content = f"name: a\ntarget: y\nlags: {LAGS}\nhorizon: {list(horizon)}\n"
    return parse(f"{content}time: {{column: t, period: {period}, zone: {zone}}}\n", "a.yaml")


def milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def same_local_time(time: datetime, days: int, zone: ZoneInfo) -> datetime:
    """So many days before `time`. A local time that there was twice is the later one; one that there was not is as long
    after the change as it should have been before."""
    wall = time.astimezone(zone).replace(tzinfo=None) - timedelta(days=days)
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    twice = second > first
    return second if twice else first


def series(stream: StreamDefinition, begin: datetime, days: int) -> tuple[list[datetime], np.ndarray, Iterator[Inputs]]:
    """The times and values of a series, and its inputs record by record."""
    layout, period = Layout.of(stream), timedelta(seconds=stream.time.period)
    times = [begin + n * period for n in range(timedelta(days=days) // period)]
    values = np.random.default_rng(3).integers(0, 100, len(times)).astype(np.float64)
    history, slot = History.empty(1, layout), np.array([0])
    inputs = (
        observe(history, layout, slot, np.array([milliseconds(time)]), np.array([[value]]))
        for time, value in zip(times, values, strict=True)
    )
    return times, values, inputs


@pytest.mark.parametrize("change", [SPRING, AUTUMN])
@pytest.mark.parametrize(("zone", "period"), [("Europe/Paris", "1h"), ("Europe/Paris", "20min"), ("UTC", "1h")])
def test_a_day_and_a_week_ago_are_what_zoneinfo_says(zone: str, period: str, change: datetime):
    day = 24 if period == "1h" else 72
    stream = definition(zone, period, (1, day, day + day // 4, 7 * day))
    local, length = ZoneInfo(zone), timedelta(seconds=stream.time.period)
    times, values, inputs = series(stream, change - timedelta(days=10), 20)
    at = dict(zip(times, values, strict=True))

    def ago(time: datetime, season: int, now: datetime, count: int = 1) -> list[float]:
        """The values of the newest known days or weeks, of the same local time as `time`."""
        pasts = (same_local_time(time, season * number, local) for number in range(1, 20))
        return [at[past] for past in islice((past for past in pasts if past <= now), count)]

    looked_at = 0
    for now, value, given in zip(times, values, inputs, strict=True):
        if now < change - timedelta(days=1):
            continue
        looked_at += 1
        ahead = [now + steps * length for steps in stream.horizon]
        assert given.daily[0].tolist() == [ago(time, 1, now)[0] for time in ahead], now
        assert given.weekly[0].tolist() == [ago(time, 7, now)[0] for time in ahead], now
        days, weeks = ago(now, 1, now, DAYS), ago(now, 7, now)
        moves: list[list[float]] = [
            [daily[0] - days[0], float(np.mean(daily) - np.mean(days)), ago(time, 7, now)[0] - weeks[0]]
            for time, daily in ((time, ago(time, 1, now, DAYS)) for time in ahead)
        ]
        place = LAGS - 1 + 5
        expected = [days[0] - value, *np.concatenate(moves)]
        np.testing.assert_allclose(given.net[0, place : place + len(expected)], expected, rtol=1e-5, atol=1e-4)
    assert looked_at == 11 * day


def test_a_local_time_that_there_was_not_or_was_twice():
    stream = definition("Europe/Paris", horizon=(1,))
    for change, local_hours in ((SPRING, {1: 1, 2: 3, 3: 3}), (AUTUMN, {1: 1, 2: 2, 3: 3})):
        times, values, inputs = series(stream, change - timedelta(days=10), 12)
        at = dict(zip(times, values, strict=True))
        next_day = {
            (now + timedelta(hours=1)).astimezone(ZoneInfo("Europe/Paris")): given.daily[0, 0]
            for now, given in zip(times, inputs, strict=True)
            if timedelta(hours=12) < now - change < timedelta(hours=36)
        }
        for hour, earlier in local_hours.items():
            time = next(local for local in next_day if local.hour == hour)
            # The second of two alike.
            past = datetime(change.year, change.month, change.day, earlier, tzinfo=time.tzinfo, fold=1)
            assert next_day[time] == at[past.astimezone(UTC)]


@pytest.mark.parametrize(
    ("zone", "period", "remembered"),
    [
        ("UTC", "1h", 7 * 24),
        ("Asia/Kolkata", "1h", 7 * 24),
        ("Europe/Paris", "1h", 7 * 24 + 1),
        ("Europe/Paris", "10min", 7 * 144 + 6),
        ("Australia/Lord_Howe", "10min", 7 * 144 + 6),
        ("Europe/Paris", "1d", 7),
        ("Europe/Paris", "1s", 0),
    ],
)
def test_a_week_and_an_hour_are_remembered_where_clocks_change(zone: str, period: str, remembered: int):
    assert Layout.of(definition(zone, period)).remembered == remembered


def test_a_change_by_half_an_hour_and_one_by_two():
    for zone, minutes in (("Australia/Lord_Howe", 30), ("Antarctica/Troll", 60)):
        stream = definition(zone, "10min", (1,))
        # Both end their summer time on 2026-04-04 in UTC or begin it on 2026-03-29; a day later all is over.
        change = datetime(2026, 4, 4, 15, tzinfo=UTC) if minutes == 30 else SPRING
        sign = -1 if minutes == 30 else 1
        times, values, inputs = series(stream, change - timedelta(days=9), 10)
        at = dict(zip(times, values, strict=True))
        for now, given in zip(times, inputs, strict=True):
            if timedelta(hours=2) < now - change < timedelta(hours=20):
                past = now + timedelta(minutes=10) - timedelta(days=1) + sign * timedelta(minutes=minutes)
                assert given.daily[0, 0] == at[past]
