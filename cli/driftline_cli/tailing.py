"""Blends or alerts as they come, one line each."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import msgspec

from driftline.bus.port import Bus
from driftline.messages import ALERTS, BLENDS, Alert, Blend, Topic

TOPICS: dict[str, Topic[Any]] = {"blends": BLENDS, "alerts": ALERTS}


async def follow(
    bus: Bus, what: str, *, stream: str | None, key: str | None, earliest: bool
) -> AsyncGenerator[Blend | Alert]:
    """The messages of a stream and key, or of all, from now on or from the first that there is."""
    async for page in bus.tail(TOPICS[what], earliest=earliest):
        for envelope in page:
            message: Blend | Alert = envelope.value
            if stream in {None, message.stream} and key in {None, message.key}:
                yield message


def line(message: Blend | Alert) -> str:
    """For people."""
    time = datetime.fromtimestamp(message.t / 1000, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
    place = f"{time}Z {message.stream}/{message.key}"
    if isinstance(message, Alert):
        return f"{place} {message.kind} {message.subject}: {message.detail}"
    observed = "missing" if message.observed is None else f"{message.observed:g}"
    parts = [
        _ahead(h, value, (lower, upper))
        for h, value, lower, upper in zip(message.horizon, message.value, message.lower, message.upper, strict=True)
    ]
    return f"{place} observed {observed}; {'; '.join(parts)}"


def _ahead(h: int, value: float | None, ends: tuple[float | None, float | None]) -> str:
    if value is None:
        return f"{h} ahead nothing"
    lower, upper = ends
    band = "" if lower is None or upper is None else f" ({lower:.4g} to {upper:.4g})"
    return f"{h} ahead {value:.4g}{band}"


def as_json(message: Blend | Alert) -> str:
    """For programs: as on the topic."""
    return msgspec.json.encode(message).decode()
