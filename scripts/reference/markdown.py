"""Markdown, as the pages need it."""

from collections.abc import Iterable, Sequence

MADE = "<!-- Made by `make docs`: change the definitions, not this page. -->"


def page(title: str, *parts: str) -> str:
    """A whole page of parts with an empty line between them."""
    return "\n\n".join([f"# {title}", MADE, *(part.strip("\n") for part in parts if part)]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Empty where there are no rows."""
    lines = [_row(cells) for cells in rows]
    return "\n".join([_row(head), _row(["---"] * len(head)), *lines]) if lines else ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def fence(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def sentence(text: str) -> str:
    """With a capital and a full stop, where it has none."""
    text = " ".join(text.split())
    if not text:
        return ""
    first = text if text.startswith("`") else text[0].upper() + text[1:]
    return first if first.endswith((".", ":", "…")) else f"{first}."
