"""Rows that lie in a list inside of an object, such as the samples of a logger or the answer of a server. Pure."""

from collections.abc import Sequence

from driftline.streams.reading.paths import FieldPath


def spread(row: object, way: str | None) -> Sequence[object]:
    """The rows that a row holds: itself, unless it has a list at `way`.

    Each has the fields of the objects on the way as well, its own first, since a device names itself and its unit once
    for all samples.
    """
    if way is None or not isinstance(row, dict):
        return (row,)
    path = FieldPath.of(way)
    elements = path.value(row)
    if not isinstance(elements, list):
        return (row,)
    around = _around(row, path)
    return [around | fields for element in elements for fields in _fields(element)]


def count_rows(rows: Sequence[object], way: str | None) -> int:
    """How many they are when all are spread."""
    return len(rows) if way is None else sum(len(spread(row, way)) for row in rows)


def _around(row: dict[str, object], path: FieldPath) -> dict[str, object]:
    """What lies on the way: inner fields go before outer ones."""
    fields: dict[str, object] = {}
    value: object = row
    for step in path.steps or (path.text,):
        if isinstance(value, dict):
            fields |= value
            value = value.get(str(step))
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step]
    for step in path.steps or (path.text,):
        fields.pop(str(step), None)
    return fields


def _fields(element: object) -> Sequence[dict[str, object]]:
    """None for an element that is no row: a list of samples may end with a word."""
    if isinstance(element, dict):
        return (element,)
    if isinstance(element, list):
        return ({str(index): value for index, value in enumerate(element)},)
    return ()
