"""Heartbeats as edges write them."""

import random
from typing import Any

from driftline.fleet.heartbeat import AlertNote, Comparison, Heartbeat, ModelHealth, StreamHealth

NOW = 1_790_000_000.0
NEW, OLD = "v000042-0123456789ab", "v000041-ba9876543210"


def beat(edge: str = "a1", **changes: Any) -> Heartbeat:
    """Of an edge that is well."""
    fields: dict[str, Any] = {
        "edge": edge,
        "name": f"pi-{edge}",
        "boot": "b1",
        "number": 1,
        "started": NOW - 3600,
        "at": NOW,
        "every": 60.0,
        "software": "0.2.0",
    }
    return Heartbeat(**(fields | changes))


def compared(
    *, serves: str | None = NEW, truths: int = 300, log_worse: float = -3.0, log_not_worse: float = 5.0, **more: Any
) -> ModelHealth:
    """A model whose newest version was compared with the former."""
    comparison = Comparison(new=NEW, old=OLD, truths=truths, log_worse=log_worse, log_not_worse=log_not_worse)
    return ModelHealth(version=serves, since=NOW - 600, former=OLD, named=NEW, comparisons=[comparison], **more)


def simulated(n: int, number: int = 1, at: float = NOW) -> Heartbeat:
    """One of many: sites of twenty, a few that have something to say."""
    chance = random.Random(n)
    skill = round(chance.gauss(0.2, 0.15), 3)
    log_worse = 8.0 if n % 50 == 7 else -3.0
    return beat(
        f"edge-{n:04}",
        name=f"pi-{n}",
        labels={"site": f"site-{n // 20:02}", "ring": "canary" if n % 10 == 0 else "main"},
        boot=f"boot-{n}",
        number=number,
        at=at,
        clock_offset=0.02,
        lag=chance.randrange(5),
        disk_free=12_000_000_000,
        disk_total=32_000_000_000,
        memory=210_000_000,
        waits_for={"store": "the store does not answer"} if n % 40 == 3 else {},
        streams={
            "outdoor-temperature": StreamHealth(
                keys=4,
                newest=int(at * 1000),
                scored=5000 + 10 * number,
                skill={"1": skill, "6": skill - 0.05},
                coverage={"1": 0.91, "6": 0.88},
            )
        },
        models={
            "outdoor-temperature.batch": compared(log_worse=log_worse, log_not_worse=-4.0 if log_worse > 0 else 5.0),
            "outdoor-temperature.speed": ModelHealth(version=f"v{100 + n % 3:06}-aaaaaaaaaaaa", since=at - 900),
        },
        alerts=[
            AlertNote(stream="outdoor-temperature", key="R1", t=int(at * 1000), kind="drift", subject="x", detail="y")
        ]
        if n % 25 == 1
        else [],
    )
