"""Why a row is no record: what was found, and what was expected. Pure."""

import msgspec

SHOWN = 80
"""Characters of what was found that a refusal repeats."""
VERBATIM = frozenset({"nothing", "a column of this name"})


class Refusal(msgspec.Struct, frozen=True):
    """`row` counts from 1; `value` is as it was given."""

    row: int
    column: str
    value: str
    expected: str


class UnusableError(Exception):
    """A value that can't be used; becomes the refusal of its row."""

    def __init__(self, column: str, value: object, expected: str) -> None:
        super().__init__(column)
        self.column, self.value, self.expected = column, value, expected

    def of_row(self, number: int) -> Refusal:
        """number: counts from 1."""
        return Refusal(number, self.column, shown(self.value), self.expected)


def shown(value: object) -> str:
    """As a refusal repeats it. None is JSON's null, or an empty field of a CSV."""
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) and value in VERBATIM else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
