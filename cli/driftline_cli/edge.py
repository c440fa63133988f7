"""Asks an edge's inference about its models, and steers them."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
from rich.table import Table

from driftline.errors import InvalidInput
from driftline_cli import tokens
from driftline_cli.screen import keep_whole, table_of
from driftline_client import AsyncClient, NoSuchThing
from driftline_client.calls.models import EdgeModels, ServedModel


async def models(url: str, stream: str | None) -> EdgeModels:
    """Of one stream or of all. Raises InvalidInput where nobody knows the stream, and ClientError."""
    async with _client(url, tokens.reading_token(url)) as client:
        listed = await client.models()
    if stream is None:
        return listed
    known = sorted({model.stream for model in listed.models})
    if stream not in known:
        raise InvalidInput(f"found no stream {stream!r} at {url}, expected one of {known}")
    return msgspec.structs.replace(listed, models=[model for model in listed.models if model.stream == stream])


async def roll_back(url: str, model: str, token: str | None, version: str, reason: str) -> ServedModel:
    """Raises InvalidInput for a model that there is not, and ClientError."""
    async with _steering(url, model, token) as client:
        return await client.roll_back(model, version, reason)


async def pin(url: str, model: str, token: str | None, version: str | None) -> ServedModel:
    """Raises InvalidInput for a model that there is not, and ClientError."""
    async with _steering(url, model, token) as client:
        return await client.pin(model, version)


@asynccontextmanager
async def _steering(url: str, model: str, token: str | None) -> AsyncIterator[AsyncClient]:
    async with _client(url, tokens.token_of(url, token)) as client:
        try:
            yield client
        except NoSuchThing:
            known = sorted(listed.name for listed in (await client.models()).models if listed.is_model)
            if model not in known:
                raise InvalidInput(f"found no model {model!r} at {url}, expected one of {known}") from None
            raise


def _client(url: str, token: str | None) -> AsyncClient:
    return AsyncClient(inference=url, token=token, patience=0)


def as_table(listed: EdgeModels) -> Table:
    """For people; members that are computed on the edge are always there, so they are left out."""
    table = table_of("Models", "model", "version", "why it serves")
    for model in listed.models:
        if model.is_model:
            version = f"{model.version or model.state}{' (pinned)' if model.pinned else ''}"
            table.add_row(model.name, version, "; ".join(_why(model)))
    return keep_whole(table, "model", "version")


def _why(model: ServedModel) -> Iterator[str]:
    yield model.note
    if model.swapped:
        yield f"since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(model.swapped))}"
    if model.candidate and model.lag:
        yield f"{model.lag.versions} versions and {model.lag.seconds:.0f} s behind the store"


def refusals(listed: EdgeModels) -> Iterator[str]:
    """A sentence for each version that was refused."""
    for model in listed.models:
        for version, reason in model.refused.items():
            yield f"refused: {model.name} {version}: {reason}"
