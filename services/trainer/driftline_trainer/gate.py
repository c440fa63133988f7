"""The gate: whether a candidate may be published, judged on a hold-out by what the edge's runtime made of it. Pure."""

from collections.abc import Sequence

import msgspec
import numpy as np

from driftline.members import PERSISTENCE
from driftline.models.manifest import PARITY
from driftline.streams.model_sections import Gate
from driftline_trainer.datasets.dataset import Batch

PARENT = "parent"
DOUBT = 2.0
"""Standard errors that chance is granted; errors `h` steps ahead overlap, so `h` rows count for one."""


class GateCheck(msgspec.Struct, frozen=True):
    """One thing that was asked. `against` and `horizon` where it is a comparison; `measured` and `limit` are then RMSE
    in the target's units. In JSON `measured` is `found`."""

    name: str
    passed: bool
    measured: float | None = msgspec.field(name="found")
    limit: float
    against: float | None = None
    horizon: int | None = None


class GateReport(msgspec.Struct, frozen=True):
    """What was asked of a candidate, and what was found."""

    rows: int
    """Of the hold-out."""
    checks: list[GateCheck]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> list[GateCheck]:
        return [check for check in self.checks if not check.passed]

    @property
    def reason(self) -> str:
        """What the first failed check found, in words."""
        check = self.failed[0]
        if check.against is None:
            return f"{check.name}: found {check.measured}, expected at most {check.limit:g}"
        return (
            f"worse than {check.name} at horizon {check.horizon}: found RMSE {check.measured:.4g} on {self.rows} rows, "
            f"expected at most {check.limit:.4g} ({check.name} has {check.against:.4g})"
        )

    @property
    def beaten(self) -> str:
        """What a published model beat, and by how much, in words."""
        rivals = dict.fromkeys(check.name for check in self.checks if check.against is not None)
        return "; ".join(f"{name}: {self._gains(name)}" for name in rivals)

    def _gains(self, name: str) -> str:
        results = [(c.horizon, c.measured, c.against) for c in self.checks if c.name == name]
        return ", ".join(f"{1 - f / a:+.1%} at horizon {h}" for h, f, a in results if f is not None and a)


def judge(
    limits: Gate, horizon: Sequence[int], forecast: Batch, truth: Batch, *, parity: float, parent: Batch | None
) -> GateReport:
    """forecast, truth, parent: [rows, horizons], differences to the last value on the hold-out; parity: the largest
    relative difference to Keras."""
    finite = bool(np.isfinite(forecast).all())
    checks = [
        GateCheck("forecasts that are not finite", finite, float((~np.isfinite(forecast)).sum()), 0.0),
        GateCheck("relative difference to Keras", finite and parity <= PARITY, parity if finite else None, PARITY),
    ]
    if finite:
        checks += _compared(PERSISTENCE, limits.persistence, horizon, forecast, truth, np.zeros_like(truth))
        if parent is not None:
            checks += _compared(PARENT, limits.parent, horizon, forecast, truth, parent)
    return GateReport(len(truth), checks)


def _compared(
    name: str, tolerance: float, horizon: Sequence[int], forecast: Batch, truth: Batch, rival: Batch
) -> list[GateCheck]:
    """A candidate may be worse by the tolerance, and by what chance may do on so few rows: DOUBT standard errors of the
    difference of squares."""
    checks = []
    for column, h in enumerate(horizon):
        mine, theirs = (
            (predicted[:, column] - truth[:, column]).astype(np.float64) ** 2 for predicted in (forecast, rival)
        )
        chance = DOUBT * float((mine - theirs).std()) * np.sqrt(h / max(1, len(truth)))
        error, against = float(np.sqrt(mine.mean())), float(np.sqrt(theirs.mean()))
        limit = float(np.sqrt((against * (1.0 + tolerance)) ** 2 + chance))
        checks.append(GateCheck(name, error <= limit, error, limit, against, h))
    return checks
