"""A file's records, with what of it can't be used said on standard error."""

from pathlib import Path

from driftline.errors import InvalidInput
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import FutureRows, Rows
from driftline_cli.commands.plainly import errors
from driftline_cli.file_check import warnings


def read_file(path: Path, stream: StreamDefinition, futures: Path | None = None) -> Rows:
    """On the stream's grid, where it has one. futures: a file of what was known ahead of the records. Raises
    InvalidInput for a file that can't be read, or none of whose rows can be used."""
    content = tables.examine_file(path, stream)
    rows = content.records(stream)
    for sentence in warnings(content, stream):
        errors.print(sentence, markup=False, highlight=False, soft_wrap=True)
    return rows if futures is None else rows.with_futures([read_futures(futures, stream)])


def read_futures(path: Path, stream: StreamDefinition) -> FutureRows:
    """Raises InvalidInput for a file that can't be used, and for a stream without futures."""
    if not stream.futures:
        raise InvalidInput(f"{path}: found futures, expected none: stream {stream.name!r} has no `futures`")
    try:
        body = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: can't be read: {error.strerror}") from error
    return tables.decode_futures(body, stream, str(path))
