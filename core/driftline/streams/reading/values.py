"""From what a device sends to a number or a name. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from driftline.streams.data_sections import ColumnSource
from driftline.streams.reading.refusals import UnusableError

NAME_LENGTH = 200
"""Characters of a key or a group."""
LARGEST = 1e30
"""No sensor measures more, and it is a number in half the precision, too."""
NOTHING = frozenset(
    {
        "",
        "nan",
        "-nan",
        "null",
        "none",
        "nil",
        "unavailable",
        "unknown",
        "n/a",
        "na",
        "#n/a",
        "#n/a n/a",
        "#na",
        "-1.#ind",
    }
    | {"1.#ind", "-1.#qnan", "1.#qnan"}
)
"""Texts, in lower case, that mean a missing value everywhere."""
BOOLEANS = {"true": 1.0, "false": 0.0}
Decimal = Literal[".", ",", "either"]
"""What a number's decimals follow: `either` takes both, and no separators of thousands."""
THOUSANDS = re.compile(r"[-+]?\d{1,3}(\.\d{3})+,\d+")
WHOLE_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+")
"""Only where the decimals follow a comma for sure."""
NUMBER = f"a number between -{LARGEST:g} and {LARGEST:g}, or null for a missing value"


@dataclass(frozen=True)
class NumberRule:
    """How the numbers of a column are written. numbers, texts: those that mean a missing value."""

    name: str
    source: ColumnSource = field(default_factory=ColumnSource)
    numbers: frozenset[float] = frozenset()
    texts: frozenset[str] = frozenset()
    unit: str = ""
    """In lower case, which a number may have at its end."""
    is_plain: bool = True
    """Whether a number is what it is."""

    @classmethod
    def of(cls, name: str, source: ColumnSource) -> "NumberRule":
        numbers = map(_plain_number, source.missing)
        texts = frozenset(value.strip().lower() for value in source.missing if isinstance(value, str))
        known = frozenset(number for number in numbers if number is not None)
        return cls(name, source, known, texts, (source.unit or "").strip().lower(), not source.converts)

    def number(self, value: object, *, text: bool, decimal: Decimal = ".") -> float | None:
        """text: numbers are written as text. Raises UnusableError."""
        if value is None:
            return None
        if isinstance(value, str):
            if text and self.is_plain and decimal == "." and (number := _plainly_written(value)) is not None:
                return number
            return self._of_text(value, text=text or self.source.text, decimal=decimal)
        if isinstance(value, bool):
            # What the definition says of true and false is said of words: it means the same in JSON and in CSV.
            return self._of_text(str(value), text=True, decimal=decimal)
        if not isinstance(value, (int, float)):
            raise UnusableError(self.name, value, NUMBER)
        return self._scaled(value, value)

    def _of_text(self, value: str, *, text: bool, decimal: Decimal) -> float | None:
        bare = value.strip().lower()
        if bare in self.source.values:
            return self.source.values[bare]
        if self.unit and bare.endswith(self.unit) and _plain_number(bare) is None:
            bare = bare.removesuffix(self.unit).rstrip()
            value = value.strip()[: len(bare)]
        if bare in NOTHING or bare in self.texts:
            return None
        if not text:
            hint = "; numbers as text need `text: true` in the definition" if _plain_number(bare) is not None else ""
            raise UnusableError(self.name, value, f"{NUMBER}{hint}")
        if bare in BOOLEANS:
            return self._scaled(BOOLEANS[bare], value)
        # Python takes 1_0, digits of other scripts and line breaks around a number, too; nobody else does.
        if "_" in value or not value.isascii() or not value.isprintable():
            raise UnusableError(self.name, value, NUMBER)
        try:
            number = float(self._with_point(value, decimal))
        except ValueError:
            raise UnusableError(self.name, value, NUMBER) from None
        return self._scaled(number, value)

    def _with_point(self, value: str, decimal: Decimal) -> str:
        if decimal == ".":
            return value
        bare = value.strip()
        if THOUSANDS.fullmatch(bare) or (decimal == "," and WHOLE_THOUSANDS.fullmatch(bare)):
            return bare.replace(".", "").replace(",", ".")
        if decimal == "," and "." in bare:
            raise UnusableError(self.name, value, "a number with a decimal comma")
        return bare.replace(",", ".", 1) if "." not in bare else bare

    def _scaled(self, number: float, value: object) -> float | None:
        """value: as it was given."""
        try:
            number = float(number)
        except OverflowError:
            raise UnusableError(self.name, value, NUMBER) from None
        if number != number or number in self.numbers:  # noqa: PLR0124 - NaN, faster than math.isnan
            return None
        number = number if self.is_plain else number * self.source.scale + self.source.offset
        if not -LARGEST <= number <= LARGEST:
            raise UnusableError(self.name, value, NUMBER)
        return number


def _plainly_written(text: str) -> float | None:
    """The number that a text is, as most are; None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    # Python takes 1_0, digits of other scripts and line breaks around a number, too; nobody else does.
    usable = -LARGEST <= number <= LARGEST and "_" not in text and text.isascii() and text.isprintable()
    return number if usable else None


def _plain_number(value: float | str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def name_of(column: str, value: object, *, text: bool = False) -> str:
    """A key or a group. text: blanks around it belong to how it is written. Raises UnusableError."""
    if text and isinstance(value, str):
        value = value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= NAME_LENGTH or not value.isprintable():
        raise UnusableError(column, value, f"a name of 1 to {NAME_LENGTH} printable characters")
    return value


def number_rules(columns: tuple[str, ...], sources: Mapping[str, ColumnSource]) -> dict[str, NumberRule]:
    """By column; a refusal names the field that it comes from."""
    rules = ((name, sources.get(name, ColumnSource())) for name in columns)
    return {name: NumberRule.of(source.path or name, source) for name, source in rules}
