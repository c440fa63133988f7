"""The MQTT door: records in from the protocol that sensors speak, acknowledged only when the bus has them.

The stream definition (`mqtt`) says which topic holds what. QoS 1 and a session that outlives restarts. Replicas of a
group divide the work by a shared subscription.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import aiomqtt
import stamina
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from driftline.bus.tls import Identity, refusal
from driftline.errors import Unavailable
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline.streams.reading.bodies import RawRows
from driftline.streams.reading.nested import spread
from driftline_ingest.door import Door
from driftline_ingest.mqtt_routes import Route, Unreadable
from driftline_ingest.settings import IngestSettings

log = logging.getLogger(__name__)

BATCH = 500
SESSION_S = 7 * 24 * 3600
"""How long the broker keeps what comes for a door that is away."""
FORMER_GROUP = "driftline"
"""Of releases that always divided the messages. mosquitto 2.0.11 does not keep such a subscription when it
restarts: messages that came before the door was back were lost."""
HINTS = {
    132: "; DRIFTLINE_MQTT_VERSION=3.1.1 may suit it",
    134: " (DRIFTLINE_MQTT_USERNAME, DRIFTLINE_MQTT_PASSWORD)",
    135: " (DRIFTLINE_MQTT_USERNAME, DRIFTLINE_MQTT_PASSWORD)",
}
"""By a reason code of MQTT 5 what else there is to say."""


class MqttDoor:
    """Follows all topics that definitions name, also of streams that are added; see
    `driftline.service.app.BackgroundJob`."""

    name = "mqtt door"

    def __init__(self, settings: IngestSettings, door: Door, streams: Streams) -> None:
        self._settings = settings
        self._door = door
        self._routes: list[Route] = []
        self._following: asyncio.Task[None] | None = None
        self._stopping = False
        self._missing = "the MQTT broker has not answered yet"
        """Why nothing is followed now; empty while it is."""
        streams.sources.on_every(self._add)

    def _add(self, stream: StreamDefinition) -> None:
        """Another subscription begins a new connection; the session holds what comes meanwhile."""
        if stream.mqtt is not None:
            # A source that has a stream more comes again.
            others = [route for route in self._routes if route.stream.name != stream.name]
            # Futures first: their topics may lie below those of records.
            self._routes = sorted([*others, *Route.of(stream, stream.mqtt)], key=lambda route: not route.futures)
            self._end()

    async def check(self) -> None:
        """Raises Unavailable while nothing is followed."""
        if self._missing:
            raise Unavailable(self._missing)

    async def run(self) -> None:
        while not self._stopping:
            self._following = asyncio.create_task(self._follow())
            await asyncio.wait({self._following})
            if not self._following.cancelled():
                self._following.result()

    async def stop(self) -> None:
        self._stopping = True
        self._end()

    def _end(self) -> None:
        if self._following is not None:
            self._following.cancel()

    @stamina.retry(on=(aiomqtt.MqttError, Unavailable), attempts=None, timeout=None, wait_max=10.0)
    async def _follow(self) -> None:
        try:
            await self._session()
        except aiomqtt.MqttError as error:
            broker = f"{self._settings.mqtt_host}:{self._settings.mqtt_port}"
            why = await self._why(error)
            self._missing = f"the MQTT broker {broker} is away or does not let this door in: {why}"
            log.warning(self._missing)
            raise

    async def _why(self, error: aiomqtt.MqttError) -> str:
        """In words. The client's own error does not say that a certificate was refused."""
        host, port = self._settings.mqtt_host or "", self._settings.mqtt_port
        refused = await refusal(host, port, self._identity) if self._settings.mqtt_tls else None
        if refused is not None:
            return f"{refused} (DRIFTLINE_MQTT_CERT_FILE, DRIFTLINE_MQTT_KEY_FILE)"
        code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
        return f"{error}{HINTS.get(code.value, '')}" if isinstance(code, ReasonCode) else str(error)

    @property
    def _identity(self) -> Identity:
        return Identity(self._settings.mqtt_ca_file, self._settings.mqtt_cert_file, self._settings.mqtt_key_file)

    async def _session(self) -> None:
        """Follows the topics until the broker is lost."""
        client = self._client()
        # An acknowledgement says that the bus has it, not that it has arrived here. aiomqtt has no name for this.
        client._client.manual_ack_set(True)  # noqa: SLF001
        async with client:
            for route in self._routes:
                await self._subscribe(client, route.filter)
            self._missing = ""
            log.info("following MQTT", extra={"filters": [route.filter for route in self._routes]})
            async with aclosing(_batches(client)) as batches:
                async for batch in batches:
                    await self._take(batch)
                    for message in batch:
                        client._client.ack(message.mid, message.qos)  # noqa: SLF001

    async def _subscribe(self, client: aiomqtt.Client, topics: str) -> None:
        group = self._settings.mqtt_group
        shared = topics if group is None else f"$share/{group}/{topics}"
        (code,) = await client.subscribe(shared, qos=1)
        why = refused_topics(shared, code)
        if why is not None:
            self._missing = why
            log.warning(why)
            raise Unavailable(why)
        if group is None:
            # What an earlier release had subscribed would bring every message twice. In this order none is missed.
            await client.unsubscribe(f"$share/{FORMER_GROUP}/{topics}")

    def _client(self) -> aiomqtt.Client:
        settings = self._settings
        return aiomqtt.Client(
            settings.mqtt_host or "",
            settings.mqtt_port,
            identifier=f"driftline-ingest-{settings.mqtt_name}",
            username=settings.mqtt_username,
            password=settings.mqtt_password.get_secret_value() if settings.mqtt_password else None,
            tls_context=self._identity.context() if settings.mqtt_tls else None,
            **_session(settings),
        )

    async def _take(self, batch: Sequence[aiomqtt.Message]) -> None:
        """Publishes what is new. Raises Unavailable: then nothing is acknowledged, and all of it comes again."""
        sorted_out: dict[tuple[str, bool], tuple[Route, list[object], set[int]]] = {}
        for message in batch:
            route = next((route for route in self._routes if message.topic.matches(route.filter)), None)
            if route is None:
                continue
            if (name := route.foreign_column(str(message.topic))) is not None:
                self._door.ignore(route.stream.name, name)
                continue
            try:
                sent = route.rows(str(message.topic), bytes(message.payload), self._door.now())
            except Unreadable as error:
                log.warning("message of %s refused: %s", message.topic, error)
                self._door.refused(route.stream.name)
                continue
            _, rows, retained = sorted_out.setdefault((route.stream.name, route.futures), (route, [], set()))
            before = len(rows)
            rows += [part for row in sent for part in spread(row, route.stream.rows)]
            if message.retain:
                retained.update(range(before + 1, len(rows) + 1))
        for route, rows, retained in sorted_out.values():
            raw = RawRows(rows, text=route.is_text, decimal=route.decimal)
            if route.futures:
                receipt, _ = await self._door.foresee_rows(route.stream.name, raw)
            else:
                receipt, _ = await self._door.take_rows(route.stream.name, raw, retained=retained)
            for refused in receipt.refused:
                log.warning("MQTT: %s: found %s, expected %s", refused.column, refused.found, refused.expected)


def refused_topics(topics: str, code: object) -> str | None:
    """Why a broker refuses a subscription, or None. Before version 5 its answer holds no reason."""
    if not isinstance(code, ReasonCode) or not code.is_failure:
        return None
    return f"the MQTT broker refuses the topics {topics!r}: {code}{HINTS.get(code.value, '')}"


def _session(settings: IngestSettings) -> dict[str, Any]:
    """A session that outlives this client. Before version 5 the broker alone says for how long."""
    if settings.mqtt_version == "3.1.1":
        return {"protocol": aiomqtt.ProtocolVersion.V311, "clean_session": False}
    session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    session.SessionExpiryInterval = SESSION_S
    return {"protocol": aiomqtt.ProtocolVersion.V5, "clean_start": False, "properties": session}


async def _batches(client: aiomqtt.Client) -> AsyncGenerator[list[aiomqtt.Message]]:
    """Whatever has come, at most BATCH at once."""
    messages = client.messages
    async for first in messages:
        batch = [first]
        while len(messages) and len(batch) < BATCH:
            batch.append(await anext(messages))
        yield batch
