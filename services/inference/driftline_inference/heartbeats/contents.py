"""What a heartbeat says, out of what the services have reported and what the registry knows. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from driftline.fleet.heartbeat import (
    MOST_PARTS,
    NEWEST_ALERTS,
    NEWEST_COMPARISONS,
    NEWEST_REFUSED,
    AlertNote,
    Comparison,
    Heartbeat,
    ModelHealth,
)
from driftline.messages import Alert, Gap, ServiceReport, StreamHealth
from driftline_inference.registry.state import ModelState

T = TypeVar("T")

TEXT_LENGTH = 300
"""Characters of a reason or a finding."""
NEWEST_GAPS = 50
DIGITS = 4
"""Of skills and shares: a heartbeat is sent 1,440 times a day."""


def model_health(state: ModelState, comparisons: Sequence[Comparison]) -> ModelHealth:
    """One model as it is now. comparisons: of its versions, the newest last."""
    newest = state.latest[-1] if state.latest else None
    return ModelHealth(
        version=state.version,
        since=newest.at if newest and state.serving else None,
        why=newest.why[:TEXT_LENGTH] if newest and state.serving else "",
        former=state.former.version if state.former else None,
        pinned=state.pinned,
        named=state.named,
        refused=_newest(state.refused),
        rolled_back=_newest(state.rolled_back),
        comparisons=list(map(_rounded, comparisons[-NEWEST_COMPARISONS:])),
    )


def _newest(reasons: Mapping[str, str]) -> dict[str, str]:
    newest = islice(reasons.items(), max(0, len(reasons) - NEWEST_REFUSED), None)
    return {version: reason[:TEXT_LENGTH] for version, reason in newest}


def _rounded(comparison: Comparison) -> Comparison:
    return replace(
        comparison,
        log_worse=round(comparison.log_worse, DIGITS),
        log_not_worse=round(comparison.log_not_worse, DIGITS),
    )


def pooled(reports: Iterable[ServiceReport]) -> dict[str, StreamHealth]:
    """By stream over all replicas: sums, the newest time, and means over their series."""
    parts: dict[str, list[StreamHealth]] = defaultdict(list)
    for report in reports:
        for stream, health in report.streams.items():
            parts[stream].append(health)
    return {stream: _pooled(parts[stream]) for stream in sorted(parts)}


def _pooled(parts: Sequence[StreamHealth]) -> StreamHealth:
    return StreamHealth(
        keys=sum(part.keys for part in parts),
        newest=max((part.newest for part in parts if part.newest is not None), default=None),
        scored=sum(part.scored for part in parts),
        skill=_means([(part.skill, part.keys) for part in parts]),
        coverage=_means([(part.coverage, part.keys) for part in parts]),
    )


def _means(parts: Sequence[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """By horizon the mean of the replicas that know it, weighted by their series."""
    sums: dict[str, float] = defaultdict(float)
    weights: dict[str, int] = defaultdict(int)
    for values, keys in parts:
        for horizon, value in values.items():
            sums[horizon] += value * max(1, keys)
            weights[horizon] += max(1, keys)
    return {horizon: round(sums[horizon] / weights[horizon], DIGITS) for horizon in sums}


def waits_for(reports: Iterable[ServiceReport], silent: Iterable[str]) -> dict[str, str]:
    """By service and check what is missing. silent: services that report no more."""
    lacks = {f"{report.service}.{name}": reason for report in reports for name, reason in report.lacks.items()}
    return lacks | dict.fromkeys(silent, "it does not report")


def gaps(reports: Iterable[ServiceReport]) -> list[Gap]:
    """The newest NEWEST_GAPS of all replicas, the newest last."""
    known = sorted((gap for report in reports for gap in report.gaps), key=lambda gap: (gap.until, gap.stream))
    return known[-NEWEST_GAPS:]


def alert_notes(alerts: Iterable[Alert]) -> list[AlertNote]:
    """The newest NEWEST_ALERTS."""
    return [_noted(alert) for alert in list(alerts)[-NEWEST_ALERTS:]]


def _noted(alert: Alert) -> AlertNote:
    return AlertNote(
        stream=alert.stream,
        key=alert.key[:TEXT_LENGTH],
        t=alert.t,
        kind=alert.kind,
        subject=alert.subject[:TEXT_LENGTH],
        detail=alert.detail[:TEXT_LENGTH],
    )


def bounded(heartbeat: Heartbeat, limit: int) -> Heartbeat:
    """With so many streams and models, the first in order, that its JSON has at most about `limit` bytes, and at most
    MOST_PARTS of each; all else in it is bounded by itself."""
    while _is_too_large(heartbeat, limit) and (heartbeat.streams or heartbeat.models):
        streams, models = _first_half(heartbeat.streams), _first_half(heartbeat.models)
        dropped = len(heartbeat.streams) + len(heartbeat.models) - len(streams) - len(models)
        heartbeat = replace(heartbeat, streams=streams, models=models, left_out=heartbeat.left_out + dropped)
    return heartbeat


def _is_too_large(heartbeat: Heartbeat, limit: int) -> bool:
    parts = max(len(heartbeat.streams), len(heartbeat.models))
    return parts > MOST_PARTS or len(msgspec.json.encode(heartbeat)) > limit


def _first_half(values: Mapping[str, T]) -> dict[str, T]:
    return {name: values[name] for name in sorted(values)[: len(values) // 2]}
