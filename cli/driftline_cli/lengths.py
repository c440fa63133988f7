"""Lengths of time and shares, as people read them. Pure."""

UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
DAY_S = 86_400
WORDS = (("day", DAY_S), ("hour", 3_600), ("minute", 60), ("second", 1))
WEEK_S = 7 * DAY_S
NEARLY_ALL = 0.995


def exactly(seconds: int) -> str:
    """With the largest unit that divides it: `15 min`, `6 h`, `36 h`."""
    unit, size = next((unit, size) for unit, size in UNITS if seconds % size == 0)
    return f"{seconds // size} {unit}"


def roughly(seconds: float) -> str:
    """With the largest unit that it fills, and one decimal where it is not whole: `2.5 d`."""
    unit, size = next(((unit, size) for unit, size in UNITS if seconds >= size), ("s", 1))
    return f"{round(seconds / size, 1):g} {unit}"


def in_words(seconds: int) -> str:
    """As `exactly`, in whole words: `10 minutes`, `36 hours`, `1 day`."""
    name, size = next((name, size) for name, size in WORDS if seconds % size == 0)
    return f"{seconds // size} {name}{'' if seconds == size else 's'}"


def percent(share: float) -> str:
    """Whole percents, and 100 only for all: `97 %`, `over 99 %`."""
    return "over 99 %" if NEARLY_ALL <= share < 1 else f"{round(100 * share)} %"
