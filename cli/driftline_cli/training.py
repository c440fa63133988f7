"""Trains a model: puts the history into the store, asks the trainer, and follows the job."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import stamina

from driftline.errors import InvalidInput, Unavailable
from driftline.service.ports import open_store
from driftline.service.settings import Settings, read_settings
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline_cli import tokens

ENDED = {"published", "refused", "failed"}
LOOK_S = 1.0
ANSWER_S = 30.0


class _Unfinished(Exception):
    pass


async def upload(store: Store, stream: StreamDefinition, file: Path) -> str:
    """Puts a history file into the store and returns its key. Raises InvalidInput for what is no history of it."""
    from driftline.streams import tables  # noqa: PLC0415 - pyarrow is needed here alone

    try:
        body = await asyncio.to_thread(file.read_bytes)
    except OSError as error:
        raise InvalidInput(f"{file}: can't be read: {error.strerror}") from error
    tables.decode(body, stream, str(file))
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
    job: dict[str, Any] = answer.json()
    return job


async def follow(trainer: httpx.AsyncClient, job: str) -> AsyncIterator[dict[str, Any]]:
    """The job's states, until it has ended; a trainer that is away for a while is waited for."""
    retrying = stamina.retry_context(
        on=(_Unfinished, httpx.HTTPError), attempts=None, timeout=None, wait_initial=LOOK_S, wait_max=LOOK_S
    )
    async for attempt in retrying:
        with attempt:
            state = (await trainer.get(f"/v1/jobs/{job}")).raise_for_status().json()
            yield state
            if state["state"] not in ENDED:
                raise _Unfinished


async def train(
    stream: StreamDefinition,
    history: Path | None,
    member: str,
    url: str,
    token: str | None,
    *,
    show: Callable[[str], None],
) -> dict[str, Any]:
    """Has a model trained by the trainer at `url`, and returns the job when it has ended.

    show: shows what is being done.
    """
    key = None
    if history is not None:
        show(f"uploading {history.name}")
        key = await _upload(stream, history)
    async with httpx.AsyncClient(base_url=url, headers=tokens.headers(url, token), timeout=ANSWER_S) as client:
        job = await ask(client, stream.name, member, key)
        async for state in follow(client, job["id"]):
            show(f"{member} model of {stream.name}: {state['state']}")
            job = state
    return job


async def _upload(stream: StreamDefinition, history: Path) -> str:
    store = open_store(read_settings(Settings))
    try:
        return await upload(store, stream, history)
    finally:
        await store.close()
