"""A file's records, with what of it can't be used said on standard error."""

from pathlib import Path

from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli.commands.plainly import errors
from driftline_cli.file_check import warnings


def read_file(path: Path, stream: StreamDefinition) -> Rows:
    """On the stream's grid, where it has one. Raises InvalidInput for a file that can't be read, or none of whose rows
    can be used."""
    content = tables.examine_file(path, stream)
    rows = content.records(stream)
    for sentence in warnings(content):
        errors.print(sentence, markup=False, highlight=False, soft_wrap=True)
    return rows
