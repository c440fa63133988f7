"""Files as people have them, that no definition describes."""

import math
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 5, tzinfo=UTC)


def csv(header: str, rows: Iterable[Sequence[object]]) -> bytes:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]).encode()


def hourly(
    rows: int, header: str, columns: Callable[[int, datetime], Sequence[object]], *, step: float = 3600, zone: str = "Z"
) -> bytes:
    """A time in each row, `step` seconds after the one before, and what `columns` says of it."""
    times = [START + timedelta(seconds=step * n) for n in range(rows)]
    return csv(header, [(f"{t:%Y-%m-%dT%H:%M:%S}{zone}", *columns(n, t)) for n, t in enumerate(times)])


def weekly_course(rows: int, seed: int = 1) -> bytes:
    """Visitors of every hour: days, quiet weekends, and noise of its own."""
    drawn = random.Random(seed)
    level = [0.0]

    def visitors(n: int, t: datetime) -> list[str]:
        level[0] = 0.8 * level[0] + drawn.gauss(0, 1)
        day = max(0.0, math.sin(math.pi * (t.hour - 6) / 14)) if 6 <= t.hour <= 20 else 0.0
        return [f"{100 + (80 if t.weekday() < 5 else 25) * day + 3 * level[0]:.2f}"]

    return hourly(rows, "time,visitors", visitors)
