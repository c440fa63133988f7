"""Asks the trainer about the devices of its fleet, and the tokens that admit them."""

import time
from typing import Any

import httpx
from rich.table import Table

from driftline.errors import InvalidInput, Unavailable
from driftline_cli import tokens
from driftline_cli.screen import keep_whole, table_of

TIMEOUT_S = 30.0


async def ask(url: str, token: str | None, method: str, path: str, asked: Any = None) -> Any:
    """The answer of `/v1/fleet/PATH`. Raises InvalidInput for what the trainer refuses, Unavailable while it can't
    say."""
    headers = tokens.headers(url, token)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S) as client:
        answer = await client.request(method, f"/v1/fleet/{path}", json=asked)
    if not answer.is_error:
        return answer.json() if answer.content else None
    kind = Unavailable if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else InvalidInput
    raise kind(f"the trainer says {answer.status_code}: {_detail(answer)}")


def _detail(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        parts = [f"{one['where']}: {one['expected']}" for one in body.get("errors", ())]
        return "; ".join([body["detail"], *parts])
    except (ValueError, KeyError, AttributeError):
        return answer.text[:500]


def tokens_table(answer: Any) -> Table:
    table = table_of("Join tokens", "id", "good until", "for", "used by")
    for token in answer:
        whom = " ".join(filter(None, [token["edge"], token["name"], _labels(token["labels"])]))
        table.add_row(token["id"], _time(token["expires"]), whom or "any device", token["used_by"] or "nobody yet")
    return keep_whole(table, "id")


def edges_table(answer: Any) -> Table:
    table = table_of("Devices", "id", "name", "labels", "joined", "state")
    for edge in answer:
        state = f"revoked {_time(edge['revoked'])}" if edge["revoked"] is not None else "admitted"
        table.add_row(edge["edge"], edge["name"], _labels(edge["labels"]), _time(edge["joined"]), state)
    return keep_whole(table, "id")


def _labels(labels: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
