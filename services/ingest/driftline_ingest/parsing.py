"""From a request's body to rows, by its content type. Pure."""

from collections.abc import Callable

from driftline.errors import InvalidInput
from driftline.streams.data_sections import CsvFormat
from driftline.streams.reading.bodies import RawRows, csv_rows, json_rows, ndjson_rows
from driftline.streams.reading.csv_text import Wanted


class UnknownType(InvalidInput):
    """A content type that nobody here reads."""


class TooManyRows(InvalidInput):
    """A body that is to be sent in parts."""


def parse(content_type: str, body: bytes, form: CsvFormat | None = None, wanted: Wanted | None = None) -> RawRows:
    """The rows in `body`, as they were written. form, wanted: of CSV. Raises Malformed or UnknownType."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == CSV:
        return csv_rows(body, form or CsvFormat(), wanted or Wanted())
    if kind not in OF_JSON:
        raise UnknownType(f"found content type {kind!r}, expected one of {', '.join(PARSERS)}")
    return OF_JSON[kind](body)


CSV = "text/csv"
OF_JSON: dict[str, Callable[[bytes], RawRows]] = {
    "application/json": json_rows,
    "application/x-ndjson": ndjson_rows,
    "application/jsonl": ndjson_rows,
}
PARSERS = (*OF_JSON, CSV)
"""The content types that are read."""
