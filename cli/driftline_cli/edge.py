"""Asks an edge's inference about its models, and steers them."""

from typing import Any

import httpx

from driftline.errors import InvalidInput, Unavailable
from driftline_cli import tokens

TIMEOUT_S = 30.0


async def ask(url: str, method: str, path: str, *, token: str | None = None, json: Any = None) -> Any:
    """What it answers. Raises InvalidInput for what it refuses, Unavailable while it can't say."""
    async with httpx.AsyncClient(base_url=url, headers=tokens.headers(url, token), timeout=TIMEOUT_S) as client:
        answer = await client.request(method, path, json=json)
    if answer.is_error:
        # Only what is away may succeed later.
        kind = Unavailable if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else InvalidInput
        raise kind(f"inference says {answer.status_code}: {answer.json().get('detail', answer.text)}")
    return answer.json()
