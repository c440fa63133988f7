"""What sinks that speak HTTP share: how they open a client, and when the other side wants to be asked again."""

import asyncio
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from driftline_combiner.sinks.port import SinkRefused, SinkUnavailable

TIMEOUT_S = 30.0


async def open_client(ca_file: Path | None) -> httpx.AsyncClient:
    """ca_file: whom it trusts instead of the system's authorities. Raises SinkRefused where that can't be read."""
    try:
        # Aside, since a Pi takes a second to read what everybody trusts.
        tls = await asyncio.to_thread(ssl.create_default_context, cafile=ca_file)
    except OSError as error:
        raise SinkRefused(f"{ca_file} can't be used: {error}", "correct ca_file") from error
    return httpx.AsyncClient(timeout=TIMEOUT_S, verify=tls)


def no_answer(error: Exception) -> SinkUnavailable | SinkRefused:
    """What an error of the client means."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return SinkRefused("its certificate is not trusted", "name its authority by ca_file")
    return SinkUnavailable(f"no answer: {type(error).__name__}")


def retry_after(answer: httpx.Response, now: float) -> float | None:
    """Seconds that it asks for, by a number or a date; None where it does not. now: seconds since the epoch."""
    text = answer.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    with suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(text) - datetime.fromtimestamp(now, UTC)).total_seconds())
    return None
