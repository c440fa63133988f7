"""The part of a page that a command writes: between `<!-- make COMMAND -->` and `<!-- end -->`."""

import re
from pathlib import Path


def write_part(page: Path, command: str, text: str) -> None:
    """Raises ValueError where the page has no such part."""
    marked = re.compile(rf"(<!-- make {command} -->\n).*?(<!-- end -->)", re.DOTALL)
    written, parts = marked.subn(lambda found: found[1] + text + found[2], page.read_text())
    if parts != 1:
        raise ValueError(f"{page}: found {parts} parts of `make {command}`, expected one")
    page.write_text(written)
