"""The MQTT sink: the newest forecast of each series, retained, and devices for Home Assistant."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Self

from driftline.messages import BLENDS, Blend
from driftline.streams.definition import StreamDefinition
from driftline.worker.stream_step import Series
from driftline_combiner.sinks.home_assistant import (
    any_discovery_topic,
    described_series,
    discovery_payload,
    discovery_topic,
    without_former_sensors,
)
from driftline_combiner.sinks.mqtt_connection import UNACKNOWLEDGED, Message, MqttConnection
from driftline_combiner.sinks.port import Unsendable
from driftline_combiner.sinks.published import forecast_payload, forecast_topic
from driftline_combiner.sinks.settings import MqttSection

BATCH = 2000
"""Messages that are read at once: of each series only the newest is published, which is how a backlog is made good."""


class MqttSink:
    """See `driftline_combiner.sinks.port.Sink`. skills: by stream and key the skill at each horizon."""

    topic = BLENDS
    batch_limit = BATCH

    def __init__(
        self,
        name: str,
        section: MqttSection,
        streams: Mapping[str, StreamDefinition],
        skills: Callable[[str, str], Mapping[int, float]],
    ) -> None:
        self._section = section
        self._streams = streams
        self._skills = skills
        listens = None if section.discovery is None else any_discovery_topic(section.discovery)
        self._connection = MqttConnection(name, section, listens, self._removals)
        # To look it up reads a file.
        self._version = version("driftline")
        self._keeping: asyncio.Task[None] | None = None
        self._announced: set[Series] = set()
        self._announced_in = 0

    async def __aenter__(self) -> Self:
        self._keeping = asyncio.create_task(self._connection.keep(), name="mqtt sink")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def send(self, batch: Sequence[Blend]) -> Sequence[Unsendable]:
        newest = list({(blend.stream, blend.key): blend for blend in batch}.values())
        # Between the slices others get a turn, since a forecast takes a while to be written.
        for start in range(0, len(newest), UNACKNOWLEDGED):
            part = newest[start : start + UNACKNOWLEDGED]
            await self._announce([(blend.stream, blend.key) for blend in part])
            await self._connection.publish([self._forecast(blend) for blend in part])
        return ()

    async def _announce(self, listed: Sequence[Series]) -> None:
        """Devices first, once in each connection: a broker may have forgotten them."""
        session = self._connection.session
        if self._section.discovery is None:
            return
        if session != self._announced_in:
            self._announced, self._announced_in = set(), session
        new = [series for series in listed if series not in self._announced]
        await self._connection.publish([self._device(self._section.discovery, *series) for series in new])
        if self._connection.session == session:
            self._announced.update(new)

    def _device(self, discovery: str, stream: str, key: str) -> Message:
        prefix = self._section.prefix
        payload = discovery_payload(prefix, self._streams[stream], key, self._version)
        return discovery_topic(discovery, prefix, stream, key), payload

    def _removals(self, topic: str, former: bytes) -> list[Message]:
        """Asks Home Assistant to remove the sensors that a series had, by what the broker still says of it, and that
        its definition has no horizon for any more; afterwards the broker keeps the description as it is now."""
        discovery, series = self._section.discovery, described_series(self._section.prefix, former)
        if discovery is None or series is None or series[0] not in self._streams:
            return []
        own_topic, payload = self._device(discovery, *series)
        emptied = without_former_sensors(payload, former)
        return [] if emptied is None or topic != own_topic else [(topic, emptied), (topic, payload)]

    def _forecast(self, blend: Blend) -> Message:
        topic = forecast_topic(self._section.prefix, blend.stream, blend.key)
        skills = self._skills(blend.stream, blend.key)
        return topic, forecast_payload(self._streams[blend.stream], blend, skills)
