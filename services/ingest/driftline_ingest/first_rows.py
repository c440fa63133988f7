"""Whether a stream's definition fits the first rows that come, and if not, what they have instead. Pure."""

from collections.abc import Callable, Iterator

from driftline.streams.reading.rows import Records

FIRST = 100
"""So many rows say whether the definition fits."""


class FirstRows:
    """The first rows of one stream. field_of: the field that a column comes from."""

    def __init__(self, field_of: Callable[[str], str]) -> None:
        self._field_of = field_of
        self._refused = 0
        self._taken = 0
        self._absent: dict[str, str] | None = None
        """By column that no record had so far, the names that a row had instead; None before the first record."""

    @property
    def over(self) -> bool:
        """Whether all has been said."""
        return self._taken >= FIRST or (self._absent is not None and not self._absent)

    def add(self, taken: Records) -> Iterator[str]:
        """What there is to say after these, in sentences."""
        if taken.records:
            yield from self._columns(taken)
        elif self._absent is None and self._refused < FIRST:
            self._refused += len(taken.refusals)
            if self._refused >= FIRST:
                first = taken.refusals[0]
                reason = f"{first.column}: found {first.value}, expected {first.expected}"
                yield f"the definition fits none of the first {self._refused} rows: {reason}"

    def _columns(self, taken: Records) -> Iterator[str]:
        count = len(taken.records)
        lacking = {name: taken.instead[0] for name, absent in taken.absent.items() if absent >= count}
        before = self._absent
        self._absent = lacking if before is None else {name: before[name] for name in before if name in lacking}
        self._taken += count
        if self._taken >= FIRST:
            for name, instead in self._absent.items():
                field = self._field_of(name)
                yield (
                    f"none of the first {self._taken} records has column {name!r} (field {field!r}), so it is missing "
                    f"in all of them; a row has {instead}"
                )
