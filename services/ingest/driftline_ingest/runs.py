"""Numbers that mostly follow one another, kept as runs. Pure."""

from array import array
from bisect import bisect_right


def insert(firsts: "array[int]", lasts: "array[int]", number: int, step: int) -> None:
    """Takes in a number that is in no run. firsts, lasts: of each run, ascending; within one, numbers lie `step`
    apart."""
    behind = bisect_right(firsts, number)
    follows = behind > 0 and number - lasts[behind - 1] == step
    precedes = behind < len(firsts) and firsts[behind] - number == step
    if follows and precedes:
        # It closes the gap between two runs.
        lasts[behind - 1] = lasts[behind]
        del firsts[behind], lasts[behind]
    elif follows:
        lasts[behind - 1] = number
    elif precedes:
        firsts[behind] = number
    else:
        firsts.insert(behind, number)
        lasts.insert(behind, number)
