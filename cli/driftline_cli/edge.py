"""Asks an edge's inference about its models, and steers them."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
from rich.table import Table

from driftline.errors import InvalidInput, Unavailable
from driftline_cli import tokens
from driftline_cli.screen import keep_whole, table_of

TIMEOUT_S = 30.0
BUILT_IN = "built-in"


async def models(url: str, stream: str | None) -> Any:
    """`GET /v1/models`, of one stream or of all. Raises InvalidInput where nobody knows the stream."""
    async with _client(url, None) as client:
        body = _body(await client.get("/v1/models"))
    known = sorted({model["stream"] for model in body["models"]})
    if stream is None:
        return body
    if stream not in known:
        raise InvalidInput(f"found no stream {stream!r} at {url}, expected one of {known}")
    return {**body, "models": [model for model in body["models"] if model["stream"] == stream]}


async def steer(url: str, model: str, how: str, token: str | None, asked: Any) -> Any:
    """Sends an order for a model. Raises InvalidInput for what inference refuses, Unavailable while it can't say."""
    async with _client(url, token) as client:
        answer = await client.post(f"/v1/models/{model}/{how}", json=asked)
        if answer.status_code == httpx.codes.NOT_FOUND:
            known = sorted(
                name_of(listed) for listed in _body(await client.get("/v1/models"))["models"] if _is_model(listed)
            )
            if model not in known:
                raise InvalidInput(f"found no model {model!r} at {url}, expected one of {known}")
        return _body(answer)


def _client(url: str, token: str | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers=tokens.headers(url, token), timeout=TIMEOUT_S)


def _body(answer: httpx.Response) -> Any:
    if not answer.is_error:
        return answer.json()
    # Only what is away may succeed later.
    kind = Unavailable if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else InvalidInput
    raise kind(f"inference says {answer.status_code}: {answer.json().get('detail', answer.text)}")


def _is_model(model: Any) -> bool:
    """Members that are computed on the edge have no versions."""
    return bool(model["state"] != BUILT_IN)


def name_of(model: Any) -> str:
    return f"{model['stream']}.{model['member']}"


def as_table(body: Any) -> Table:
    """For people; members that are computed on the edge are always there, so they are left out."""
    table = table_of("Models", "model", "version", "why it serves")
    for model in filter(_is_model, body["models"]):
        version = f"{model['version'] or model['state']}{' (pinned)' if model['pinned'] else ''}"
        table.add_row(name_of(model), version, "; ".join(_why(model)))
    return keep_whole(table, "model", "version")


def _why(model: Any) -> Iterator[str]:
    yield model["note"]
    if model["swapped"]:
        yield f"since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(model['swapped']))}"
    if model["candidate"]:
        yield f"{model['lag']['versions']} versions and {model['lag']['seconds']:.0f} s behind the store"


def refusals(body: Any) -> Iterator[str]:
    """A sentence for each version that was refused."""
    for model in body["models"]:
        for version, reason in model["refused"].items():
            yield f"refused: {name_of(model)} {version}: {reason}"
