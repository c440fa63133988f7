"""Trains a model: puts the history into the store, asks the trainer, and follows the job."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import stamina

from driftline.errors import InvalidInput
from driftline.service.ports import open_store
from driftline.service.settings import Settings, read_settings
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline_cli import tokens
from driftline_client import AsyncClient, Busy, NoAnswer, NoSuchThing
from driftline_client.calls.training import TrainingJob

LOOK_S = 1.0


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


async def follow(trainer: AsyncClient, job: str) -> AsyncIterator[TrainingJob]:
    """The job's states, until it has ended; a trainer that is away for a while is waited for."""
    retrying = stamina.retry_context(
        on=(_Unfinished, NoAnswer, Busy), attempts=None, timeout=None, wait_initial=LOOK_S, wait_max=LOOK_S
    )
    async for attempt in retrying:
        with attempt:
            state = await trainer.job(job)
            yield state
            if not state.has_ended:
                raise _Unfinished


async def train(
    stream: StreamDefinition,
    history: Path | None,
    member: Literal["batch", "speed"],
    url: str,
    token: str | None,
    *,
    show: Callable[[str], None],
) -> TrainingJob:
    """Has a model trained by the trainer at `url`, and returns the job when it has ended. Raises ClientError.

    show: shows what is being done.
    """
    key = None
    async with AsyncClient(trainer=url, token=tokens.token_of(url, token), patience=0) as client:
        if history is not None:
            await _check_operator(client)
            show(f"uploading {history.name}")
            key = await _upload(stream, history)
        job = await client.train(stream.name, member, key)
        async for state in follow(client, job.id):
            show(f"{member} model of {stream.name}: {state.state}")
            job = state
    return job


async def _check_operator(trainer: AsyncClient) -> None:
    """Before a long upload is in vain. Raises Forbidden for a token that may not train."""
    # A trainer without a fleet's door says so when it is asked to train.
    with suppress(NoSuchThing):
        # Of what only reads, operators alone may see these.
        await trainer.join_tokens()


async def _upload(stream: StreamDefinition, history: Path) -> str:
    store = open_store(read_settings(Settings))
    try:
        return await upload(store, stream, history)
    finally:
        await store.close()
