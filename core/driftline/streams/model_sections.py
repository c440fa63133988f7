"""The sections of a definition that say how it is learned, weighed and watched.

Pure.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from driftline.scoring import Strategy
from driftline.streams.definition_values import LengthOfTime, Listed, Section, Stage, Truths


class TrainingOptions(Section):
    """How the batch model is made."""

    architecture: Literal["mlp", "lstm", "gru"] = "mlp"
    """The kind of network: dense layers, or a recurrent one over the lags."""
    units: tuple[Annotated[int, Field(ge=1, le=1024)], ...] | None = None
    """Units of each layer; by default what fits the number of rows."""
    networks: int = Field(4, ge=1, le=16)
    """So many are trained from different beginnings and averaged in one model."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the units that sit out in each step of training."""
    loss: Literal["huber", "mse"] = "huber"
    """The loss that training minimises; `huber` gives less weight to outliers."""
    steps: int | None = Field(None, ge=1, le=1_000_000)
    """Batches that it learns from, at most; the rate's decay is spread over them. By default what fits the number of
    rows: a short history is passed over more often than a long one."""
    epochs: int | None = Field(None, ge=1, le=1000)
    """Passes over all rows, in the place of `steps`."""
    patience: int = Field(6, ge=1)
    """Looks at the hold-out, of about 20 in a training, without a better one after which it stops; the weights of the
    best look stay."""
    batch_size: int = Field(512, ge=1)
    """Rows of one step of training."""
    learning_rate: float = Field(2e-3, gt=0)
    """Adam's rate at the beginning."""
    seed: int = 0
    """Seed of all random numbers in training."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError(f"found steps {self.steps} and epochs {self.epochs}, expected one of them")
        return self


class Retraining(Section):
    """When and how the speed model follows."""

    every: int = Field(1000, ge=1)
    """New records, of all keys together, after which the speed model is retrained."""
    records: int = Field(1000, ge=1)
    """The newest records that it is retrained on ..."""
    replay: int = Field(500, ge=0)
    """... with so many rows of what was learned from before."""
    epochs: int = Field(3, ge=1)
    """How often it sees them."""
    learning_rate: float = Field(3e-5, gt=0)
    """Adam's rate; far smaller than the batch model's, so that little is forgotten."""
    seconds: float = Field(30.0, gt=0)
    """Time for fine-tuning; no epoch begins after it."""


class Gate(Section):
    """How much worse a candidate's RMSE on the hold-out may be, as a share, in addition to what chance explains."""

    parent: float = Field(0.02, ge=0)
    """Than that of the version that is current."""
    persistence: float = Field(0.05, ge=0)
    """Than that of repeating the last value."""


ALL_EDGES = "100%"
"""The last stage of every roll-out."""
Stages = Annotated[tuple[Stage, ...], Listed, Field(min_length=1)]


class Rollout(Section):
    """How a new version reaches the edges of a fleet; a single edge gets it at once."""

    stages: Stages = ("1", "10%", "50%", ALL_EDGES)
    """So many edges, or such a share of them, run a new batch model one stage after the other."""
    speed: Stages = (ALL_EDGES,)
    """The same for a new speed model; by default all edges get it at once."""
    evidence: Truths = 500
    """Truths that the edges of a stage must have compared both versions on, such as `500 truths`."""
    hold: LengthOfTime = 3600
    """How long a stage lasts at least, such as `1h`; seconds in memory."""
    first: dict[str, str] = Field(default_factory=dict)
    """Labels of the edges that come first, such as `canary: "yes"`; quotes make it text."""

    @model_validator(mode="after")
    def _ends_with_all(self) -> Self:
        for name in ("stages", "speed"):
            stages: tuple[str, ...] = getattr(self, name)
            if stages[-1] != ALL_EDGES:
                raise ValueError(f"{name}: found {stages[-1]!r} as the last stage, expected {ALL_EDGES}")
            for unit in ("edges", "shares"):
                sizes = [float(stage.rstrip("%")) for stage in stages if stage.endswith("%") == (unit == "shares")]
                if sizes != sorted(set(sizes)):
                    raise ValueError(f"{name}: found {', '.join(stages)}, expected ascending stages, each once")
        return self

    def stages_of(self, member: str) -> tuple[str, ...]:
        """Of a model, the last of them all edges."""
        return self.speed if member == "speed" else self.stages


class Weighting(Section):
    """How the combiner weighs the members. Every strategy is evaluated; the active one is published."""

    active: Strategy = "online"
    """The strategy that is published."""
    window: int = Field(250, ge=2, le=100_000)
    """Scored records that the strategy `window` fits its weights on."""
    static: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Fixed weights by member; all members alike where it is empty."""


class Drift(Section):
    """How drift is found."""

    detector: Literal["adwin", "page-hinkley"] = "adwin"
    """The detector of changes; ADWIN chooses its own window."""
    delta: float = Field(0.05, gt=0, lt=1)
    """ADWIN's confidence; smaller is calmer."""
    threshold: float = Field(3.0, gt=0)
    """Page-Hinkley's; larger is calmer."""
    size: float = Field(0.6, gt=0, lt=1)
    """Least size of a change that raises an alert: 1 is a column moving further than it ever does, or an error of 5
    usual ones."""
