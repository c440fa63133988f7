"""Blends or alerts as they come, one line each."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from driftline.bus.kafka import KafkaBus
from driftline.bus.port import Bus
from driftline.errors import Unavailable
from driftline.messages import ALERTS, BLENDS, Alert, Blend, Topic
from driftline.service.ports import open_bus
from driftline.service.settings import Settings, read_settings

NOBODY = "driftline-tail"
"""A consumer group without members."""
TOPICS: dict[str, Topic[Any]] = {"blends": BLENDS, "alerts": ALERTS}


@dataclass(frozen=True)
class Selection:
    """Which messages: of a topic of TOPICS, a stream and a key, or of all."""

    what: str
    stream: str | None = None
    key: str | None = None

    def has(self, message: Blend | Alert) -> bool:
        return self.stream in {None, message.stream} and self.key in {None, message.key}


Messages = AsyncGenerator[Blend | Alert]


async def show_of_kafka(
    wanted: Selection,
    show: Callable[[Blend | Alert], None],
    remark: Callable[[str], None],
    *,
    earliest: bool,
    limit: int | None,
) -> None:
    """Shows messages on the settings' bus as they come, until it has shown `limit`; remarks that there are none
    yet, since silence could mean anything."""
    bus = open_bus(read_settings(Settings))
    try:
        if await _is_new(bus, wanted.what):
            remark(f"there are no {wanted.what} yet; waiting for the first")
        await show_messages(follow(bus, wanted, earliest=earliest), show, limit)
    finally:
        await bus.close()


async def show_messages(messages: Messages, show: Callable[[Blend | Alert], None], limit: int | None) -> None:
    """Shows messages as they come, until it has shown `limit`."""
    count = 0
    async with aclosing(messages) as following:
        async for message in following:
            show(message)
            count += 1
            if count == limit:
                return


async def _is_new(bus: KafkaBus, what: str) -> bool:
    try:
        await bus.topics.make([TOPICS[what].name])
        return await is_empty(bus, TOPICS[what])
    except Unavailable:
        return False


async def is_empty(bus: Bus, topic: Topic[Any]) -> bool:
    """Whether nothing was ever put on the topic: a group that nobody is in lags behind by all there is."""
    return not sum((await bus.lag(topic, NOBODY)).values())


async def follow(bus: Bus, wanted: Selection, *, earliest: bool) -> AsyncGenerator[Blend | Alert]:
    """The messages that are wanted, from now on or from the first that there is."""
    async for page in bus.tail(TOPICS[wanted.what], earliest=earliest):
        for envelope in page:
            if wanted.has(envelope.value):
                yield envelope.value


def line(message: Blend | Alert) -> str:
    """For people."""
    time = datetime.fromtimestamp(message.t / 1000, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
    head = f"{time}Z {message.stream}/{message.key}"
    if isinstance(message, Alert):
        return f"{head} {message.kind} {message.subject}: {message.detail}"
    observed = "missing" if message.observed is None else f"{message.observed:g}"
    parts = [
        _ahead(h, value, (lower, upper))
        for h, value, lower, upper in zip(message.horizon, message.value, message.lower, message.upper, strict=True)
    ]
    return f"{head} observed {observed}; {'; '.join(parts)}"


def _ahead(h: int, value: float | None, ends: tuple[float | None, float | None]) -> str:
    if value is None:
        return f"{h} ahead nothing"
    lower, upper = ends
    band = "" if lower is None or upper is None else f" ({lower:.4g} to {upper:.4g})"
    return f"{h} ahead {value:.4g}{band}"


def as_json(message: Blend | Alert) -> str:
    """For programs: as on the topic."""
    return msgspec.json.encode(message).decode()
