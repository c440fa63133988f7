"""What the definition of a stream says of weighing, as numbers. Pure."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from driftline.arrays import Floats, Ints
from driftline.members import MEMBERS
from driftline.scoring import STRATEGIES
from driftline.streams.definition import StreamDefinition
from driftline.streams.horizon_rings import HorizonRings

GUARD_RECORDS = (500, 50)
"""What the guard compares: about so many of the last records, and so many more for each step of the horizon, since
errors far ahead overlap."""


@dataclass(frozen=True)
class Rules:
    """static: [members]."""

    rings: HorizonRings
    static: Floats
    active: int
    memory: float
    """Of the window strategy."""
    guard: Floats
    """[horizons]: the guard's memory."""

    @property
    def steps(self) -> Ints:
        """[horizons]."""
        return self.rings.steps

    @classmethod
    def of(cls, stream: StreamDefinition) -> Self:
        fixed = stream.weighting.static or dict.fromkeys(MEMBERS, 1.0)
        return cls(
            rings=HorizonRings.of(stream.horizon, stream.patience),
            static=np.array([fixed.get(name, 0.0) for name in MEMBERS]),
            active=STRATEGIES.index(stream.weighting.active),
            memory=1.0 / stream.weighting.window,
            guard=1.0 / (GUARD_RECORDS[0] + GUARD_RECORDS[1] * np.array(stream.horizon, dtype=np.float64)),
        )
