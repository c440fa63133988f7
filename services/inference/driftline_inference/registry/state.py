"""The state of one model of one stream: which version serves, which one the store names, what was refused and why."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from driftline.streams.definition import StreamDefinition
from driftline_inference.registry.versions import LoadedModel

SWAPS_REMEMBERED = 20
REFUSED_REMEMBERED = 100
REASON_SHOWN = 1000
"""Characters of a refusal's reason that are remembered."""

Cause = Literal["pointer", "rollout", "fallback", "pin", "rollback", "restart"]
"""Why a version was swapped in, as a metric's label; `SwapRecord.why` says it in words. `rollout`: this edge came into
a trial, or went back since the trainer stopped it."""
CAUSES: Final[tuple[Cause, ...]] = get_args(Cause)

ModelName = tuple[str, str]
"""Stream and member."""


@dataclass(frozen=True)
class SwapRecord:
    """A version began to serve. `at`: seconds since the epoch."""

    version: str
    at: float
    why: str


@dataclass
class ModelState:
    """Changed by `Registry` and `Reconciler` alone."""

    stream: StreamDefinition
    member: str
    serving: LoadedModel | None = None
    former: LoadedModel | None = None
    """Served before; what a rollback goes back to."""
    pinned: bool = False
    """Whether `serving` stays, wherever the pointer goes."""
    named: str | None = None
    """The version that this edge should run, as the store's pointer says."""
    behind_since: float | None = None
    """Since when that is not what serves."""
    etag: str | None = None
    """Of the pointer that was dealt with last."""
    refused: dict[str, str] = field(default_factory=dict)
    """By version the reason; the latest of them."""
    rolled_back: dict[str, str] = field(default_factory=dict)
    """By version why this edge went back from it; the latest of them."""
    swaps: int = 0
    latest: deque[SwapRecord] = field(default_factory=lambda: deque(maxlen=SWAPS_REMEMBERED))

    @property
    def name(self) -> ModelName:
        return self.stream.name, self.member

    @property
    def version(self) -> str | None:
        return self.serving.version if self.serving else None

    def remember(self, version: str, reason: str) -> bool:
        """Notes why a version was refused; whether that is new. The oldest is forgotten for the newest."""
        return _remember(self.refused, version, reason)

    def remember_rollback(self, version: str, reason: str) -> bool:
        """Notes why this edge went back from a version; whether that is new."""
        return _remember(self.rolled_back, version, reason)

    def swap(self, model: LoadedModel, why: str, now: float, *, former: LoadedModel | None) -> None:
        """former: what the model is compared with, and what a rollback goes back to."""
        self.former, self.serving = former, model
        self.swaps += 1
        self.latest.append(SwapRecord(model.version, now, why))
        self.compare(now)

    def compare(self, now: float) -> None:
        """Notes since when the pointer names another version than the one that serves."""
        if self.named is None or self.named == self.version:
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = now


def _remember(reasons: dict[str, str], version: str, reason: str) -> bool:
    if version in reasons:
        return False
    while len(reasons) >= REFUSED_REMEMBERED:
        reasons.pop(next(iter(reasons)))
    reasons[version] = reason[:REASON_SHOWN]
    return True
