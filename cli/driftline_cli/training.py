"""Trains a model: puts the history into the store, asks the trainer, and follows the job."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import stamina

from driftline.errors import InvalidInput, Unavailable
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline.streams.tables import decode

ENDED = {"published", "refused", "failed"}
LOOK_S = 1.0


class _Unfinished(Exception):
    pass


async def upload(store: Store, stream: StreamDefinition, file: Path) -> str:
    """Puts a history file into the store and returns its key. Raises InvalidInput for what is no history of it."""
    try:
        body = await asyncio.to_thread(file.read_bytes)
    except OSError as error:
        raise InvalidInput(f"{file}: can't be read: {error.strerror}") from error
    decode(body, stream, str(file))
    key = f"history/{stream.name}/{file.name}"
    await store.put(key, body)
    return key


async def ask(trainer: httpx.AsyncClient, stream: str, member: str, history: str | None) -> dict[str, Any]:
    """Submits the job. Raises InvalidInput for what the trainer refuses, Unavailable when it is away."""
    try:
        answer = await trainer.post("/v1/jobs", json={"stream": stream, "member": member, "history": history})
    except httpx.HTTPError as error:
        raise Unavailable(f"{trainer.base_url}: the trainer does not answer: {type(error).__name__}") from error
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise InvalidInput("the trainer wants a token: --token, or DRIFTLINE_TOKEN")
    if answer.is_error:
        raise InvalidInput(f"the trainer refused: {answer.json().get('detail', answer.text)}")
    found: dict[str, Any] = answer.json()
    return found


async def follow(trainer: httpx.AsyncClient, job: str) -> AsyncIterator[dict[str, Any]]:
    """The job's states, until it has ended; a trainer that is away for a while is waited for."""
    retrying = stamina.retry_context(
        on=(_Unfinished, httpx.HTTPError), attempts=None, timeout=None, wait_initial=LOOK_S, wait_max=LOOK_S
    )
    async for attempt in retrying:
        with attempt:
            found = (await trainer.get(f"/v1/jobs/{job}")).raise_for_status().json()
            yield found
            if found["state"] not in ENDED:
                raise _Unfinished
