"""Asks the trainer about roll-outs, and steers them."""

import getpass
import time
from collections.abc import Iterator, Sequence

from rich.table import Table

from driftline_cli import tokens
from driftline_cli.screen import keep_whole, table_of
from driftline_client import AsyncClient
from driftline_client.calls.rollouts import Act, ModelRollout, TrialEvidence


async def all_rollouts(url: str) -> list[ModelRollout]:
    """Of every model. Raises ClientError."""
    async with _client(url, tokens.reading_token(url)) as client:
        return await client.rollouts()


async def one_rollout(url: str, model: str) -> ModelRollout:
    """Of one model, with those before. Raises ClientError."""
    async with _client(url, tokens.reading_token(url)) as client:
        return await client.rollout(model)


async def steer(url: str, model: str, act: Act, token: str | None, reason: str, version: str | None) -> ModelRollout:
    """Raises ClientError."""
    async with _client(url, tokens.token_of(url, token)) as client:
        return await client.steer_rollout(model, act, by=_person(), reason=reason, version=version)


def as_table(shown: Sequence[ModelRollout]) -> Table:
    """For people."""
    table = table_of("Roll-outs", "model", "all edges run", "on trial", "stage", "waits")
    for rollout in shown:
        stage = _stage(rollout) if rollout.on_trial else ""
        table.add_row(_name(rollout), rollout.for_all, rollout.on_trial or "", stage, rollout.waits)
    return keep_whole(table, "model")


def sentences(shown: ModelRollout) -> Iterator[str]:
    """One model's roll-out, and what became of those before."""
    if shown.on_trial is None:
        yield f"{_name(shown)}: all edges run {shown.for_all}; no roll-out runs"
    else:
        yield f"{_name(shown)}: {shown.on_trial} is on trial, all other edges run {shown.for_all}"
        yield f"  {shown.state}: {_stage(shown)}{_since(shown)}"
    if shown.waits:
        yield f"  {shown.waits}"
    if shown.trial is not None and shown.trial.edges:
        yield f"  {_evidence(shown.trial)}"
    for edge, why in shown.went_back.items():
        yield f"  {edge} went back: {why}"
    for story in shown.stories:
        yield f"  {story.version}: {story.state}"
        for event in story.events:
            stage = f" ({event.stage})" if event.stage else ""
            yield f"    {_time(event.at)} {event.act}{stage} by {event.by}: {event.why}"


def _name(rollout: ModelRollout) -> str:
    return f"{rollout.stream}.{rollout.member}"


def _stage(rollout: ModelRollout) -> str:
    stages = rollout.stages
    number = min(rollout.stage or 1, len(stages))
    return f"stage {number} of {len(stages)}: {stages[number - 1]} of the edges"


def _since(rollout: ModelRollout) -> str:
    return "" if rollout.since is None else f", since {_time(rollout.since)}"


def _evidence(pooled: TrialEvidence) -> str:
    who = f"{pooled.reporting} of {pooled.edges} edges report, {pooled.truths} truths"
    return f"{who}: evidence that it is worse {pooled.worse:.3g}, that it is not {pooled.not_worse:.3g}"


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _person() -> str:
    """For the roll-out's story."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        return "by hand"


def _client(url: str, token: str | None) -> AsyncClient:
    return AsyncClient(trainer=url, token=token, patience=0)
