"""What is done to whom and when: drawn from the seed before anything starts. Pure."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

FIRST_S = 1.0
BETWEEN_S = (0.3, 2.5)
"""From one act to the next, of all targets together."""
SETTLE_S = 3.0
"""After its last act a target is left alone for so long, so that what was killed has begun again."""
DOWN_S = (0.1, 4.0)
SHORT_S = (0.2, 3.0)
LONG_S = (7.0, 12.0)
"""Pauses longer than the session timeout (6 s): the paused one loses its partitions meanwhile."""
BROKER = "kafka"
BROKER_PAUSE_S = (0.2, 7.0)
BROKER_SHARE = 0.4
"""How often it has its turn, beside the others: while it is away nothing else can happen."""
LONG_SHARE = 0.5
KILL_SHARE = 0.55
TRAIN_EVERY_S = (8.0, 30.0)

Kind = Literal["kill", "pause", "train"]


@dataclass(frozen=True)
class Act:
    """One disturbance; `at`: seconds from the phase's begin; `seconds`: until it is started again or goes on."""

    at: float
    target: str
    kind: Kind
    seconds: float = 0.0

    @property
    def end(self) -> float:
        return self.at + self.seconds


def draw(seed: str, seconds: float, targets: Sequence[str], pace: float = 1.0) -> list[Act]:
    """All acts of a phase, in order; each is over when the phase is. Every target has its turn about equally often.

    pace: so many times longer is the time between acts, on a machine where everything takes longer to begin.
    """
    disturbances = _disturbances(random.Random(seed), seconds, targets, pace)
    acts = [act for act in disturbances if act.end <= seconds]
    acts += _trainings(random.Random(f"{seed} trainings"), seconds, pace)
    return sorted(acts, key=lambda act: act.at)


def _disturbances(chance: random.Random, seconds: float, targets: Sequence[str], pace: float) -> Iterator[Act]:
    free_at = dict.fromkeys(targets, FIRST_S)
    now = FIRST_S
    while now < seconds:
        for target in chance.sample(list(targets), len(targets)):
            if target == BROKER and chance.random() > BROKER_SHARE:
                continue
            act = _disturbance(chance, max(now, free_at[target]), target)
            free_at[target] = act.end + SETTLE_S * pace
            now += chance.uniform(*BETWEEN_S) * pace
            yield act


def _disturbance(chance: random.Random, at: float, target: str) -> Act:
    if chance.random() < KILL_SHARE:
        return Act(at, target, "kill", chance.uniform(*DOWN_S))
    if target == BROKER:
        return Act(at, target, "pause", chance.uniform(*BROKER_PAUSE_S))
    return Act(at, target, "pause", chance.uniform(*(LONG_S if chance.random() < LONG_SHARE else SHORT_S)))


def _trainings(chance: random.Random, seconds: float, pace: float) -> Iterator[Act]:
    """A new batch model is asked for: what the archived windows cause are speed models."""
    at = chance.uniform(0, TRAIN_EVERY_S[0])
    while at < seconds:
        yield Act(at, "trainer", "train")
        at += chance.uniform(*TRAIN_EVERY_S) * pace
