"""A connection to an MQTT broker that is kept, with a topic that says whether we are there."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Any

import aiomqtt
import stamina
from paho.mqtt.reasoncodes import ReasonCode

from driftline.bus.tls import Identity, refusal
from driftline.stoppable import until_set
from driftline_combiner.sinks.port import SinkRefused, SinkUnavailable
from driftline_combiner.sinks.published import status_topic
from driftline_combiner.sinks.secret_files import read_secret
from driftline_combiner.sinks.settings import MqttSection

log = logging.getLogger(__name__)

ONLINE, OFFLINE = "online", "offline"
UNACKNOWLEDGED = 20
"""Messages on their way at once: as many as the client has in flight."""
NO_ACCESS = frozenset({134, 135})
OTHER_VERSION = 132
CONNECTING_S = 2.0
"""For so long what is to be sent waits for a connection."""
FAREWELL_S = 2.0
"""How long a broker may take to hear that we go."""
EXPECTED = (aiomqtt.MqttError, OSError, SinkUnavailable, SinkRefused)

Message = tuple[str, bytes]
"""Topic and payload."""


class MqttConnection:
    """Connects again whenever the broker was lost. `session` counts the connections that were made.

    listens: a filter; what the broker has retained on such topics is shown to `answer` in each connection, before
    anything is published there, and what that returns is published.
    """

    def __init__(
        self,
        name: str,
        section: MqttSection,
        listens: str | None = None,
        answer: Callable[[str, bytes], Sequence[Message]] = lambda _topic, _payload: (),
    ) -> None:
        self._name = name
        self._section = section
        self._listens = listens
        self._answer = answer
        self._client: aiomqtt.Client | None = None
        self._trouble: SinkUnavailable | SinkRefused = SinkUnavailable(f"{self._broker} has not answered yet")
        self._denied = ""
        self._has_connected = False
        self._is_connected = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self.session = 0

    @property
    def _broker(self) -> str:
        return f"the MQTT broker {self._section.host}:{self._section.port}"

    async def keep(self) -> None:
        """Does not end."""
        while True:
            async for attempt in stamina.retry_context(on=Exception, attempts=None, timeout=None, wait_max=10.0):
                with attempt:
                    await self._try_session()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Retained; returns when the broker has all of them. Raises SinkUnavailable and SinkRefused."""
        await until_set(self._is_connected, CONNECTING_S)
        client, self._denied = self._client, ""
        if client is None:
            raise self._trouble
        self._sending = asyncio.create_task(_send(client, messages))
        try:
            await asyncio.wait({self._sending})
        finally:
            self._sending.cancel()
        if self._sending.cancelled():
            raise SinkUnavailable(f"{self._broker} was lost before it had acknowledged")
        try:
            self._sending.result()
        except aiomqtt.MqttError as error:
            raise SinkUnavailable(f"{self._broker} did not acknowledge: {error}") from error
        if self._denied:
            raise SinkRefused(
                f"{self._broker} takes no message of ours: {self._denied}",
                f"allow {self._section.username or 'this client'} to write {self._section.prefix}/#"
                + (f" and {self._section.discovery}/#" if self._section.discovery else ""),
            )

    async def _try_session(self) -> None:
        """One that was connected returns when the broker is lost, so that the next begins at once."""
        self._has_connected = False
        try:
            await self._session()
        except Exception as error:
            if not isinstance(error, EXPECTED):
                # Nobody awaits this task before the end, and what is to be sent would wait for ever without a word.
                log.exception("sink %s lost its connection", self._name)
            self._trouble = await self._explained(error)
            if not self._has_connected:
                raise

    async def _session(self) -> None:
        client = self._new_client()
        async with client:
            await client.publish(status_topic(self._section.prefix), ONLINE, qos=1, retain=True)
            await client.subscribe(status_topic(self._section.prefix), qos=1)
            if self._listens is not None:
                # A broker that lets us read nothing there says so in its answer, and nothing else changes.
                await client.subscribe(self._listens, qos=1)
            self.session += 1
            self._client, self._has_connected = client, True
            self._is_connected.set()
            log.info("sink %s is connected to %s", self._name, self._broker)
            try:
                await self._stay(client)
            except asyncio.CancelledError:
                await self._leave(client)
                raise
            finally:
                self._client = None
                self._is_connected.clear()
                if self._sending is not None:
                    # The client would wait for acknowledgements that can't come any more.
                    self._sending.cancel()

    async def _stay(self, client: aiomqtt.Client) -> None:
        """Until the broker is lost. The will of a connection that broke before may come late, and another replica may
        leave while we are there."""
        status = status_topic(self._section.prefix)
        async for message in client.messages:
            topic, payload = message.topic.value, message.payload
            if topic == status:
                if payload == OFFLINE.encode():
                    await client.publish(status, ONLINE, qos=1, retain=True)
            elif message.retain and isinstance(payload, bytes):
                for reply in self._answer(topic, payload):
                    await client.publish(*reply, qos=1, retain=True)

    async def _leave(self, client: aiomqtt.Client) -> None:
        try:
            async with asyncio.timeout(FAREWELL_S):
                await client.publish(status_topic(self._section.prefix), OFFLINE, qos=1, retain=True)
        except (aiomqtt.MqttError, TimeoutError):
            log.debug("sink %s left without a word", self._name)

    def _new_client(self) -> aiomqtt.Client:
        """Raises SinkRefused where a file can't be used."""
        section = self._section
        client = aiomqtt.Client(
            section.host,
            section.port,
            identifier=f"driftline-{self._name}-{token_hex(4)}",
            username=section.username,
            password=read_secret(section.password_file),
            tls_context=self._tls() if section.tls else None,
            will=aiomqtt.Will(status_topic(section.prefix), OFFLINE, qos=1, retain=True),
            max_concurrent_outgoing_calls=UNACKNOWLEDGED,
            protocol=aiomqtt.ProtocolVersion.V5 if section.version == "5" else aiomqtt.ProtocolVersion.V311,
        )
        client.pending_calls_threshold = UNACKNOWLEDGED
        self._heed_denials(client)
        return client

    def _heed_denials(self, client: aiomqtt.Client) -> None:
        """Every acknowledgement is a success to aiomqtt; that of version 5 may say that the message was refused."""
        taken: Any = client._client.on_publish  # noqa: SLF001

        def on_publish(one: Any, data: Any, mid: int, code: ReasonCode, properties: Any) -> None:
            if code.is_failure:
                self._denied = str(code)
            taken(one, data, mid, code, properties)

        client._client.on_publish = on_publish  # noqa: SLF001

    @property
    def _identity(self) -> Identity:
        files = (self._section.ca_file, self._section.cert_file, self._section.key_file)
        return Identity(*(None if file is None else str(file) for file in files))

    def _tls(self) -> ssl.SSLContext:
        try:
            return self._identity.context()
        except OSError as error:
            remedy = "name files in PEM that can be read by ca_file, cert_file and key_file"
            raise SinkRefused(f"its certificates can't be used: {error}", remedy) from error

    async def _explained(self, error: Exception) -> SinkUnavailable | SinkRefused:
        """In words, with what to do where a person must."""
        if isinstance(error, SinkUnavailable | SinkRefused):
            return error
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SinkRefused(f"{self._broker}: {cause.verify_message}", "name its authority by ca_file")
        section = self._section
        if section.tls and (why := await refusal(section.host, section.port, self._identity)) is not None:
            return SinkRefused(f"{self._broker}: {why}", "correct cert_file and key_file")
        code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
        value = code.value if isinstance(code, ReasonCode) else None
        if value in NO_ACCESS:
            return SinkRefused(f"{self._broker} does not let us in: {code}", "correct username and password_file")
        if value == OTHER_VERSION:
            return SinkRefused(f"{self._broker} does not speak version {section.version}", 'set `version: "3.1.1"`')
        return SinkUnavailable(f"{self._broker} is away: {error}")


async def _send(client: aiomqtt.Client, messages: Sequence[Message]) -> None:
    await asyncio.gather(*(client.publish(topic, payload, qos=1, retain=True) for topic, payload in messages))
