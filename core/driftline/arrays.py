"""Arrays by what they hold."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

FINER = 6
"""Powers of ten by which what is put out is finer than what it is measured by."""


def shortened(values: Floats, unit: Floats) -> Floats:
    """The values to a millionth of `unit`, or finer: as text they are half as long.

    unit: of any shape that fits, in the values' units; where it is 0 or NaN they are left as they are.
    """
    known = unit > 0
    power = np.clip(FINER - np.floor(np.log10(np.where(known, unit, 1.0))), -300, 300)
    # Divided by a power of ten that is a whole number, a whole number gives the nearest number to the short decimal.
    finer, coarser = 10.0 ** np.maximum(power, 0.0), 10.0 ** np.maximum(-power, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        short = np.rint(values * finer / coarser) * coarser / finer
    kept: Floats = np.where(known & np.isfinite(short), short, values)
    return kept
