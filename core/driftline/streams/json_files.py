"""Files of JSON: an array, an object, or an object a line. Pure."""

from codecs import BOM_UTF8

from driftline.errors import InvalidInput
from driftline.streams.reading.bodies import Malformed, RawRows, json_rows, ndjson_rows


def is_json(body: bytes) -> bool:
    """By its first sign."""
    return body.removeprefix(BOM_UTF8).lstrip()[:1] in {b"{", b"["}


def json_rows_of(body: bytes, source: str) -> RawRows:
    """An array or an object a line; one object may take several lines."""
    body = body.removeprefix(BOM_UTF8)
    try:
        if body.lstrip()[:1] == b"[":
            return json_rows(body)
        try:
            raw = ndjson_rows(body)
            return raw if raw.lines else RawRows(raw.rows, lines=_lines_of(body))
        except Malformed:
            if not body.rstrip().endswith(b"}") or len(body.splitlines()) == 1 or body.lstrip()[:2].rstrip() != b"{":
                raise
            return json_rows(body)
    except Malformed as error:
        raise InvalidInput(f"{source}: {error}") from error


def _lines_of(body: bytes) -> list[int]:
    """The numbers of lines that are not blank."""
    return [number for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
