"""Asks the trainer about roll-outs, and steers them."""

import getpass
import time
from collections.abc import Iterator
from typing import Any

import httpx
from rich.table import Table

from driftline.errors import InvalidInput, Unavailable
from driftline_cli import tokens
from driftline_cli.screen import keep_whole, table_of

TIMEOUT_S = 30.0


async def show(url: str, model: str | None) -> Any:
    """`GET /v1/rollouts` of all models, or of one. Raises InvalidInput, Unavailable."""
    async with _client(url, None) as client:
        return _body(await client.get(f"/v1/rollouts/{model}" if model else "/v1/rollouts"))


async def steer(url: str, model: str, act: str, token: str | None, reason: str, version: str | None) -> Any:
    """Raises InvalidInput for what the trainer refuses, Unavailable while it can't say."""
    asked = {"by": _person(), "reason": reason, **({"version": version} if version else {})}
    async with _client(url, token) as client:
        return _body(await client.post(f"/v1/rollouts/{model}/{act}", json=asked))


def as_table(shown: list[Any]) -> Table:
    """For people."""
    table = table_of("Roll-outs", "model", "all edges run", "on trial", "stage", "waits")
    for rollout in shown:
        stage = _stage(rollout) if rollout["on_trial"] else ""
        name = f"{rollout['stream']}.{rollout['member']}"
        table.add_row(name, rollout["for_all"], rollout["on_trial"] or "", stage, rollout["waits"])
    return keep_whole(table, "model")


def sentences(shown: Any) -> Iterator[str]:
    """One model's roll-out, and what became of those before."""
    name = f"{shown['stream']}.{shown['member']}"
    if shown["on_trial"] is None:
        yield f"{name}: all edges run {shown['for_all']}; no roll-out runs"
    else:
        yield f"{name}: {shown['on_trial']} is on trial, all other edges run {shown['for_all']}"
        yield f"  {shown['state']}: {_stage(shown)}, since {_time(shown['since'])}"
    if shown["waits"]:
        yield f"  {shown['waits']}"
    if shown["trial"] is not None and shown["trial"]["edges"]:
        yield f"  {_evidence(shown['trial'])}"
    for edge, why in shown["went_back"].items():
        yield f"  {edge} went back: {why}"
    for story in shown["stories"]:
        yield f"  {story['version']}: {story['state']}"
        for event in story["events"]:
            stage = f" ({event['stage']})" if event["stage"] else ""
            yield f"    {_time(event['at'])} {event['act']}{stage} by {event['by']}: {event['why']}"


def _stage(rollout: Any) -> str:
    stages = rollout["stages"]
    number = min(rollout["stage"], len(stages))
    return f"stage {number} of {len(stages)}: {stages[number - 1]} of the edges"


def _evidence(pooled: Any) -> str:
    who = f"{pooled['reporting']} of {pooled['edges']} edges report, {pooled['truths']} truths"
    return f"{who}: evidence that it is worse {pooled['worse']:.3g}, that it is not {pooled['not_worse']:.3g}"


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _person() -> str:
    """For the roll-out's story."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        return "by hand"


def _client(url: str, token: str | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers=tokens.headers(url, token), timeout=TIMEOUT_S)


def _body(answer: httpx.Response) -> Any:
    if not answer.is_error:
        return answer.json()
    kind = Unavailable if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else InvalidInput
    raise kind(f"the trainer says {answer.status_code}: {answer.json().get('detail', answer.text)}")
