"""A roll-out over simulated edges, by the code that judges it: shadows bet, heartbeats carry it, the trainer's pure
part decides. No store, no bus: 50 edges and a week take a second."""

from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from driftline.arrays import Floats
from driftline.fleet.heartbeat import Heartbeat, ModelHealth
from driftline.fleet.rollout import first_trial, is_in, rank, stage_after
from driftline.models.manifest import Pointer, Trial
from driftline.streams.model_sections import Rollout
from driftline_inference.shadow import Shadow
from driftline_trainer.rollouts.standing import of_trial

MODEL = ("a", "batch")
NEW, OLD = "v000002-0123456789ab", "v000001-0123456789ab"
TICK_S = 600.0
LOOK = 6
"""Ticks between two looks of the trainer."""
LONGEST = 8000


@dataclass(frozen=True)
class Weather:
    """What errors are made of. alike: correlation of both versions' errors at one time; common: of two edges' errors;
    lasting: of an error with the one before; keys: series of an edge, which err together as edges do."""

    alike: float = 0.9
    common: float = 0.7
    lasting: float = 0.5
    keys: int = 4


@dataclass(frozen=True)
class Ended:
    """How a roll-out ended. state: `stopped`, `done` or `waits`; stages: in which it was, counted from 1."""

    state: str
    stage: int
    ticks: int
    tried: int
    """Edges that ran the version."""


@dataclass
class SimulatedEdge:
    """An edge on trial: its shadow, and why it went back."""

    id: str
    shadow: Shadow = field(default_factory=lambda: Shadow(NEW, OLD, 1))
    went_back: str | None = None

    def see(self, tick: int, new: Floats, old: Floats) -> None:
        """new, old: [keys], errors of the forecasts of the next tick."""
        names = [f"k{key}" for key in range(len(new))]
        pairs = list(zip(new.tolist(), old.tolist(), strict=True))
        self.shadow.add(names, [tick] * len(names), [0.0] * len(names), pairs)
        if self.shadow.test.certain:
            self.went_back = "worse"

    @property
    def heartbeat(self) -> Heartbeat:
        rolled_back = {NEW: self.went_back} if self.went_back else {}
        health = ModelHealth(
            version=OLD if self.went_back else NEW, rolled_back=rolled_back, comparisons=[self.shadow.comparison]
        )
        return empty(self.id, {"a.batch": health})


def empty(edge: str, models: dict[str, ModelHealth] | None = None) -> Heartbeat:
    return Heartbeat(
        edge=edge,
        name=edge,
        boot="b",
        number=1,
        started=0.0,
        at=0.0,
        every=60.0,
        software="1",
        models={"a.batch": ModelHealth(version=OLD)} if models is None else models,
    )


def errors_of(random: np.random.Generator, edges: int, ratio: float, weather: Weather) -> tuple[Floats, Floats]:
    """Of the new and the old version, [ticks, edges, keys] each; their RMSE is ratio to 1."""

    def noise() -> Floats:
        shared = random.normal(size=(LONGEST, 1, 1))
        own = random.normal(size=(LONGEST, edges, weather.keys))
        mixed = np.sqrt(weather.common) * shared + np.sqrt(1 - weather.common) * own
        for tick in range(1, LONGEST):
            mixed[tick] = weather.lasting * mixed[tick - 1] + np.sqrt(1 - weather.lasting**2) * mixed[tick]
        return mixed

    old, other = noise(), noise()
    return ratio * (weather.alike * old + np.sqrt(1 - weather.alike**2) * other), old


def roll_out(
    seed: int, ratio: float, *, edges: int = 50, weather: Weather | None = None, rollout: Rollout | None = None
) -> Ended:
    """A version whose RMSE is `ratio` times the former one's."""
    rollout = rollout or Rollout()
    random = np.random.default_rng(seed)
    new, old = errors_of(random, edges, ratio, weather or Weather())
    names = [f"edge{seed}-{number}" for number in range(edges)]
    trial = first_trial(rollout.stages, rollout.first, NEW, {name: {} for name in names}, 0.0)
    assert trial is not None
    ranks = {name: rank(name, NEW, {}, rollout.first) for name in names}
    trying: dict[str, SimulatedEdge] = {}
    for tick in range(LONGEST):
        for number, name in enumerate(names):
            if is_in(trial, name, {}):
                edge = trying.setdefault(name, SimulatedEdge(name))
                if edge.went_back is None and not edge.shadow.over:
                    edge.see(tick, new[tick, number], old[tick, number])
        if tick % LOOK:
            continue
        now = tick * TICK_S
        heartbeats = {name: trying[name].heartbeat if name in trying else empty(name) for name in names}
        standing = of_trial(rollout, Pointer(OLD, trial), trial, MODEL, heartbeats, ranks, now)
        if standing.verdict == "worse":
            return Ended("stopped", trial.stage + 1, tick, len(trying))
        if standing.verdict == "passed":
            further = moved(rollout, trial, list(ranks.values()), now)
            if further is None:
                return Ended("done", len(rollout.stages), tick, edges)
            trial = further
    return Ended("waits", trial.stage + 1, LONGEST, len(trying))


def moved(rollout: Rollout, trial: Trial, ranks: list[float], now: float) -> Trial | None:
    step = stage_after(rollout.stages, trial.stage, ranks, trial.below)
    if step is None:
        return None
    return replace(trial, below=step.below, stage=step.stage, entered=trial.below, since=now)
