"""Streams and blends that the tests of sinks send."""

from driftline.messages import Alert, Blend
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse

BEGIN = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
HOUR = 3_600_000
TANK: StreamDefinition = parse(
    "name: tank\ntime: {column: when, period: 1h}\nkey: id\ntarget: level\nhorizon: [1, 6]\n"
    "columns: {level: {unit: kW}}\n",
    "tank.yaml",
)


def blend(n: int, key: str = "k1", stream: str = "tank") -> Blend:
    """That of the nth hour; its values are n + 0.5 and unknown."""
    return Blend(
        stream,
        key,
        BEGIN + n * HOUR,
        float(n),
        [1, 6],
        [n + 0.5, None],
        "online",
        {},
        {},
        {},
        {"batch": "v000001"},
        0.0,
        lower=[n - 1.0, None],
        upper=[n + 2.0, None],
        times=[BEGIN + (n + 1) * HOUR, BEGIN + (n + 6) * HOUR],
        quantiles={"0.5": [n + 0.4, None]},
    )


def alert(n: int, kind: str = "drift") -> Alert:
    return Alert("tank", f"k{n}", BEGIN + n * HOUR, kind, "blend", f"the {n}th finding")
