"""What a run is asked for, from the environment."""

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass

DELIVERIES = ("at_least_once", "exactly_once")
SEEDS = 2**31


@dataclass(frozen=True)
class ChaosSettings:
    seconds: float = 300.0
    """CHAOS_S: how long services are disturbed, all phases together."""
    seed: int = 0
    """CHAOS_SEED: of all that is random; drawn where it is not said."""
    deliveries: tuple[str, ...] = DELIVERIES
    """CHAOS_DELIVERY: one of them, or both one after the other."""
    keys: int = 80
    """CHAOS_KEYS: series, each with a record a second."""

    @property
    def phases(self) -> list[tuple[str, float]]:
        """Each delivery's share of the time."""
        return [(delivery, self.seconds / len(self.deliveries)) for delivery in self.deliveries]


def read(environment: Mapping[str, str] = os.environ) -> ChaosSettings:
    """Raises ValueError."""
    default = ChaosSettings()
    delivery = environment.get("CHAOS_DELIVERY") or ",".join(DELIVERIES)
    deliveries = tuple(delivery.split(","))
    if unknown := set(deliveries) - set(DELIVERIES):
        raise ValueError(f"CHAOS_DELIVERY: found {sorted(unknown)}, expected one or both of {', '.join(DELIVERIES)}")
    seed = environment.get("CHAOS_SEED")
    return ChaosSettings(
        float(environment.get("CHAOS_S") or default.seconds),
        int(seed) if seed else random.randrange(SEEDS),
        deliveries,
        int(environment.get("CHAOS_KEYS") or default.keys),
    )
