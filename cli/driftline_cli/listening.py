"""Listens to an MQTT broker for a while."""

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from driftline.errors import InvalidInput, Unavailable
from driftline.streams import topic_filters
from driftline_cli.heard import Message

PORT, TLS_PORT = 1883, 8883
MOST = 5000
"""Messages that are enough."""


@dataclass(frozen=True)
class BrokerUrl:
    """mqtt://user:password@host:port/filter; mqtts:// for TLS."""

    host: str
    port: int
    topics: str
    tls: bool
    username: str | None
    password: str | None

    @classmethod
    def of(cls, url: str) -> "BrokerUrl":
        """Raises InvalidInput."""
        # In a filter `#` is no fragment.
        parts = urlsplit(url.replace("#", "%23"))
        topics = unquote(parts.path.removeprefix("/")) or "#"
        # A password is shown to nobody, not even in an error.
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        try:
            topic_filters.check(topics)
            port = parts.port
        except ValueError as error:
            raise InvalidInput(f"{shown}: {error}") from error
        if not parts.hostname:
            raise InvalidInput(
                f"{shown}: found no host, expected mqtt://HOST/TOPICS such as mqtt://localhost/sensors/+"
            )
        tls = parts.scheme == "mqtts"
        password = unquote(parts.password) if parts.password is not None else None
        username = unquote(parts.username) if parts.username is not None else None
        return cls(parts.hostname, port or (TLS_PORT if tls else PORT), topics, tls, username, password)


def listen(url: BrokerUrl, seconds: float) -> list[Message]:
    """What comes in that time. Raises Unavailable."""
    return asyncio.run(_listen(url, seconds))


async def _listen(url: BrokerUrl, seconds: float) -> list[Message]:
    import aiomqtt  # noqa: PLC0415 - the command's help needs no client

    messages: list[Message] = []
    client = aiomqtt.Client(
        url.host,
        url.port,
        username=url.username,
        password=url.password,
        tls_params=aiomqtt.TLSParameters() if url.tls else None,
    )
    try:
        async with client:
            await client.subscribe(topic_filters.plain(url.topics))
            try:
                async with asyncio.timeout(seconds):
                    async for message in client.messages:
                        messages.append(Message(str(message.topic), bytes(message.payload), time.time()))
                        if len(messages) >= MOST:
                            break
            except TimeoutError:
                pass
    except aiomqtt.MqttError as error:
        raise Unavailable(f"the MQTT broker {url.host}:{url.port} does not answer or refuses: {error}") from error
    return messages
