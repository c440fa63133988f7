"""The models of an edge: which serve, why others don't, and their steering. Pure."""

from typing import Literal

import msgspec

from driftline_client.calls.call import Call, get, in_path, post


class ModelSwapped(msgspec.Struct, frozen=True):
    """A version began to serve. at: seconds since the epoch."""

    version: str
    at: float
    why: str


class ModelShadow(msgspec.Struct, frozen=True):
    """The previous version forecasts in parallel until `records` are compared."""

    version: str
    compared: int
    records: int
    evidence: float
    """That the newer one is worse; it is left when this reaches `limit`."""
    limit: float


class ModelLag(msgspec.Struct, frozen=True):
    """How far the edge is behind the store."""

    versions: int
    seconds: float


class ServedModel(msgspec.Struct, frozen=True):
    """One member of one stream. Times in seconds since the epoch, unless they say otherwise."""

    stream: str
    member: str
    state: Literal["missing", "serving", "built-in"]
    note: str
    version: str | None = None
    pinned: bool = False
    former: str | None = None
    """The version that a rollback would go back to."""
    shadow: ModelShadow | None = None
    candidate: str | None = None
    """The version that the store names, while that is not the one that serves."""
    lag: ModelLag | None = None
    architecture: str | None = None
    trained_from: int | None = None
    """Milliseconds since the epoch."""
    trained_to: int | None = None
    metrics: dict[str, float] = {}
    """On the trainer's hold-out."""
    swapped: float | None = None
    """When it began to serve."""
    swaps: int = 0
    latest: list[ModelSwapped] = []
    """The newest first."""
    refused: dict[str, str] = {}
    """By version, why it was refused."""

    @property
    def name(self) -> str:
        return f"{self.stream}.{self.member}"

    @property
    def is_model(self) -> bool:
        """Members that are computed on the edge have no versions."""
        return self.state != "built-in"


class KnownEdge(msgspec.Struct, frozen=True):
    """Which edge it is."""

    id: str | None
    name: str
    labels: dict[str, str] = {}
    rivals: list[str] = []
    """Boots of other devices that run under this id: its card was copied."""


class EdgeModels(msgspec.Struct, frozen=True):
    """All models of all streams, and the edge that serves them."""

    edge: KnownEdge
    models: list[ServedModel]


def models() -> Call[EdgeModels]:
    """Which models serve on the edge, and why others don't."""
    return get("inference", "/v1/models", EdgeModels)


def roll_back(model: str, version: str, reason: str) -> Call[ServedModel]:
    """Goes back from a version to the one before. model: STREAM.MEMBER. Raises BadRequest where there is none."""
    return _steered(model, "rollback", {"version": version, "reason": reason})


def pin(model: str, version: str | None) -> Call[ServedModel]:
    """Keeps the edge on a version; None lets it follow the store. Raises BadRequest for one that may not serve."""
    return _steered(model, "pin", {"version": version})


def _steered(model: str, how: str, asked: object) -> Call[ServedModel]:
    return post("inference", f"/v1/models/{in_path(model)}/{how}", ServedModel, asked, is_repeatable=True)
