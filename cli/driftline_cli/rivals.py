"""What the blend is compared with: forecasts that need no Driftline, and what weights could have reached in hindsight.
Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from driftline.arrays import Floats, Mask
from driftline.members import MEMBERS
from driftline.scoring import PUBLISHED, rmse
from driftline.streams.definition import StreamDefinition
from driftline_cli import references
from driftline_cli.evaluate import Outcome
from driftline_cli.mixtures import best_mixture, best_with_one_shift
from driftline_cli.references import Reference, SeriesOnGrid

MIXTURE, ONE_SHIFT = "mixture", "one shift"


@dataclass(frozen=True)
class Rival:
    """Another's RMSE, and the blend's divided by it, on the records that both forecast: means over the keys."""

    rmse: float
    share: float


@dataclass(frozen=True)
class References:
    """The references of a run, with the records that they look back on."""

    stream: StreamDefinition
    series: Mapping[str, SeriesOnGrid]
    by_name: Mapping[str, Reference]

    def forecasts(self, scored: Outcome, index: int) -> dict[str, Floats]:
        """Per reference [n], as in `scored.forecasts`."""
        slots = references.slots_of(scored.t, self.stream)
        return {
            name: self.stream.within(references.forecasts(reference, self.series, scored.keys, slots, index))
            for name, reference in self.by_name.items()
        }


def compared(scored: Outcome, others: Mapping[str, Floats], of_key: Sequence[Mask]) -> dict[str, Rival]:
    """Every rival by name. others: per reference [n]. of_key: [n] each, the records that the blend is scored on."""
    parts = [part for part in of_key if part.any()]
    return {name: _reference(scored, row, parts) for name, row in others.items()} | _in_hindsight(scored, parts)


def _reference(scored: Outcome, row: Floats, parts: Sequence[Mask]) -> Rival:
    both = [part & np.isfinite(row) for part in parts]
    blend = scored.forecasts[PUBLISHED]
    return _rival([(_rmse(row, scored, part), _rmse(blend, scored, part)) for part in both if part.any()])


def _in_hindsight(scored: Outcome, parts: Sequence[Mask]) -> dict[str, Rival]:
    """Each key has weights of its own. A member that is missing anywhere, since it came late, takes no part."""
    rows = [scored.forecasts[name] for name in MEMBERS if name in scored.forecasts]
    present = [row for row in rows if all(np.isfinite(row[part]).all() for part in parts)]
    errors = [np.stack([row[part] - scored.truth[part] for row in present], axis=1) for part in parts]
    blend = [_rmse(scored.forecasts[PUBLISHED], scored, part) for part in parts]
    return {
        MIXTURE: _rival(list(zip([best_mixture(of_key).rmse for of_key in errors], blend, strict=True))),
        ONE_SHIFT: _rival(list(zip([best_with_one_shift(of_key).rmse for of_key in errors], blend, strict=True))),
    }


def _rmse(row: Floats, scored: Outcome, part: Mask) -> float:
    return rmse(row[part], scored.truth[part])


def _rival(pairs: Sequence[tuple[float, float]]) -> Rival:
    """pairs: by key the rival's RMSE and the blend's; none where the rival forecast nothing."""
    if not pairs:
        return Rival(float("nan"), float("nan"))
    theirs, ours = np.mean(pairs, axis=0)
    return Rival(float(theirs), float(ours / theirs) if theirs else float("inf"))
