"""The least and the greatest value that a target can have. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from driftline.arrays import Floats, clipped
from driftline.streams.definition_values import Range


def check(possible: Range | Mapping[str, Range] | None, targets: Sequence[str]) -> None:
    """possible: of the one target, or by column. Raises ValueError."""
    if isinstance(possible, Mapping):
        strange = [name for name in possible if name not in targets]
        if strange:
            raise ValueError(f"range: found {strange[0]!r}, expected one of {', '.join(targets)}")
    elif possible is not None and len(targets) > 1:
        columns = ", ".join(f"{target}: [0, null]" for target in targets)
        raise ValueError(f"range: found one for several targets, expected one by column: {{{columns}}}")


def within(values: Floats, possible: Range | None) -> Floats:
    """Each value brought to the nearest one that is possible; NaN stays."""
    return values if possible is None else clipped(values, *_ends(possible))


def count_beyond(values: Iterable[float | None], possible: Range | None) -> int:
    """How many values are not possible; missing ones are not counted."""
    if possible is None:
        return 0
    low, high = _ends(possible)
    return sum(not low <= value <= high for value in values if value is not None)


def _ends(possible: Range) -> tuple[float, float]:
    lowest, highest = possible
    return -np.inf if lowest is None else lowest, np.inf if highest is None else highest
