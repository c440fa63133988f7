"""Where the broker is, how clients of it are begun and ended, and its errors as ours."""

import asyncio
import ssl
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    ProducerFenced,
    RequestTimedOutError,
    SaslAuthenticationFailed,
    TransactionCoordinatorFenced,
    UnsupportedSaslMechanismError,
)

from driftline.bus.kafka_settings import KafkaSettings
from driftline.bus.tls import refusal
from driftline.errors import BusUnavailable, Fenced

STOP_S = 3.0
"""A fenced producer's stop can hang."""
FETCH_BYTES = 512 * 1024
"""Fetched of a partition at once: with the partitions' number this bounds memory, whatever the lag."""
FETCH_WAIT_S = 0.1
FENCED = "Invalid state transition"
"""What aiokafka asserts when a transaction is begun by a producer that was told before that it is fenced."""
CLOSED = "the handler is closed"
"""What uvloop says of a connection that was lost a moment ago, where asyncio raises an OSError."""


@contextmanager
def answering() -> Iterator[None]:
    """Kafka's errors as ours: raises Fenced and BusUnavailable."""
    try:
        yield
    except (ProducerFenced, InvalidProducerEpoch, TransactionCoordinatorFenced) as error:
        raise Fenced("another worker took the partition over") from error
    except (KafkaError, TimeoutError, OSError) as error:
        raise BusUnavailable(_in_words(error)) from error
    except AssertionError as error:
        if FENCED not in str(error):
            raise
        raise Fenced(f"another worker took the partition over: {error}") from error
    except RuntimeError as error:
        if CLOSED not in str(error):
            raise
        raise BusUnavailable(f"the broker does not answer: {error}") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Nobody cancelled this task: aiokafka did so with a future that it waits for.
        raise BusUnavailable("the broker does not answer: the client gave it up") from error


def _in_words(error: Exception) -> str:
    """For people: what the client says is for programmers, and stays the cause."""
    if isinstance(error, OSError | KafkaConnectionError | KafkaTimeoutError | RequestTimedOutError):
        return "the broker does not answer"
    return f"the broker does not answer as it should: {type(error).__name__.removesuffix('Error')}"


def reader(settings: KafkaSettings) -> AIOKafkaConsumer:
    """A consumer outside any group, not yet started."""
    return AIOKafkaConsumer(
        **settings.client(),
        group_id=None,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=int(FETCH_WAIT_S * 1000),
        max_partition_fetch_bytes=FETCH_BYTES,
    )


async def fetch(consumer: AIOKafkaConsumer, *places: TopicPartition, timeout: float, limit: int | None = None) -> Any:
    """By partition the messages that have come of `places`, of all for none; waits at most `timeout` seconds. Raises
    BusUnavailable and Fenced."""
    with answering():
        messages = await consumer.getmany(*places, timeout_ms=int(timeout * 1000), max_records=limit)
    if not messages and consumer._fetcher.error_future.done():  # noqa: SLF001
        # Aiokafka's own task for it has failed. Whoever waits for messages is not told, and would wait for ever.
        raise BusUnavailable("the broker does not answer: the client has stopped to fetch")
    return messages


async def start(client: Any, settings: KafkaSettings) -> None:
    """Starts any client of aiokafka's. Raises BusUnavailable, with the reason where the broker lets nobody in."""
    # In a task of its own: a start that is cut leaves a connection behind that nobody knows of.
    starting = asyncio.create_task(client.start())
    try:
        with answering():
            async with asyncio.timeout(settings.send_timeout):
                await asyncio.shield(starting)
    except BaseException as error:  # also a cancellation: half-started clients hold connections
        await asyncio.wait({starting}, timeout=STOP_S)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await stop(client)
        if isinstance(error, BusUnavailable):
            await _explain(error, settings)
        raise


async def stop(client: Any) -> None:
    """Stops a client, whatever state it is in."""
    end = client.close if isinstance(client, AIOKafkaAdminClient) else client.stop
    if not await _ended(end()):
        await _ended(_abandon(client))


async def _ended(ending: Coroutine[Any, Any, None]) -> bool:
    """Whether it ended as it should, soon enough.

    In a task of its own: a consumer that stops cancels what it fetches, waits for that, and where a fetch has failed
    just now it is ended by that cancellation itself (https://github.com/aio-libs/aiokafka/issues/647).
    """
    task = asyncio.create_task(ending)
    await asyncio.wait({task}, timeout=STOP_S)
    if not task.done():
        task.cancel()
        return False
    return not task.cancelled() and task.exception() is None


async def _abandon(client: Any) -> None:
    """Closes what a stop that failed leaves open. aiokafka has no public way: a second stop does nothing."""
    if isinstance(client, AIOKafkaProducer):
        await client._sender.close()  # noqa: SLF001
        await client.client.close()
    else:
        await client._client.close()  # noqa: SLF001


async def _explain(error: BusUnavailable, settings: KafkaSettings) -> None:
    """Raises a BusUnavailable with the reason, where the broker lets nobody in: aiokafka's own error has none."""
    if not isinstance(error.__cause__, KafkaConnectionError) or settings.security_protocol == "PLAINTEXT":
        return
    arguments = settings.client()
    for host, port, _ in collect_hosts(arguments.pop("bootstrap_servers")):
        with _let_in(f"{host}:{port}", settings):
            connection = await create_conn(host, port, request_timeout_ms=settings.request_timeout_ms(), **arguments)
            connection.close()
        why = await refusal(host, port, settings.identity) if "SSL" in settings.security_protocol else None
        if why is not None:
            files = f"{settings.variables}_CERT_FILE, {settings.variables}_KEY_FILE"
            raise BusUnavailable(f"the broker {host}:{port} does not let this client in: {why} ({files})") from error


@contextmanager
def _let_in(broker: str, settings: KafkaSettings) -> Iterator[None]:
    """Why a broker and a client don't trust each other, as a sentence; whatever else is wrong passes."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        authorities = settings.ca_file or "the system's list"
        raise BusUnavailable(
            f"the broker {broker} is not trusted: its certificate was not made by an authority of {authorities} "
            f"({settings.variables}_CA_FILE): {error.verify_message}"
        ) from error
    except ssl.SSLError as error:
        raise BusUnavailable(f"the broker {broker} does not speak TLS as this client does: {error.reason}") from error
    except (AuthenticationFailedError, SaslAuthenticationFailed, UnsupportedSaslMechanismError) as error:
        raise BusUnavailable(
            f"the broker {broker} refused the user {settings.sasl_username!r} ({settings.variables}_SASL_USERNAME, "
            f"{settings.variables}_SASL_PASSWORD): {'; '.join(map(str, error.args))}"
        ) from error
    except (KafkaError, TimeoutError, OSError):
        return
