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

Cause = Literal["pointer", "fallback", "pin", "rollback", "restart"]
"""Why a version was swapped in, as a metric's label; `SwapRecord.why` says it in words."""
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
    """The version that the store's pointer names."""
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
        if version in self.refused:
            return False
        while len(self.refused) >= REFUSED_REMEMBERED:
            self.refused.pop(next(iter(self.refused)))
        self.refused[version] = reason[:REASON_SHOWN]
        return True

    def go_back(self, version: str, reason: str) -> None:
        """Notes why this edge went back from a version."""
        self.rolled_back.pop(version, None)
        self.rolled_back[version] = reason[:REASON_SHOWN]
        while len(self.rolled_back) > REFUSED_REMEMBERED:
            self.rolled_back.pop(next(iter(self.rolled_back)))

    def swap(self, model: LoadedModel, why: str, now: float) -> None:
        self.former, self.serving = self.serving, model
        self.swaps += 1
        self.latest.append(SwapRecord(model.version, now, why))
        self.compare(now)

    def compare(self, now: float) -> None:
        """Notes since when the pointer names another version than the one that serves."""
        if self.named is None or self.named == self.version:
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = now
