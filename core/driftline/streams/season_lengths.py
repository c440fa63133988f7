"""The lengths of time that a stream's values may repeat after, by the period of its records. Pure."""

from collections.abc import Collection

from driftline.streams.definition_values import DAY_S, SEASONS

LONGEST_SEASON = 1440
"""Records of a day that are kept to look back on; a faster stream has no season."""


def possible_lengths(period: int) -> list[int]:
    """Lengths of time that are whole numbers of periods and more than one; none for a stream that is too fast."""
    is_slow = period * LONGEST_SEASON >= DAY_S
    return [length for length in SEASONS.values() if is_slow and length % period == 0 and length >= 2 * period]


def check(lengths: Collection[int], period: int) -> None:
    """Raises ValueError for lengths that a stream of this period can't have."""
    impossible = set(lengths) - set(possible_lengths(period))
    if impossible:
        raise ValueError(f"season: {_refused(impossible, period)}")


def _refused(impossible: Collection[int], period: int) -> str:
    refused = [name for name, length in SEASONS.items() if length in impossible]
    possible = [name for name, length in SEASONS.items() if length in possible_lengths(period)]
    return (
        f"found {', '.join(refused)}, expected {' or '.join(possible) or 'an empty list'}: a whole number of "
        f"periods and more than one, with at most {LONGEST_SEASON:,} periods a day"
    )
