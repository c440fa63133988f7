"""What tests want of a page: its command blocks, its headings, its links."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

SHELLS = ("", "sh", "bash", "shell")
"""Blocks in these languages, and indented ones, are commands."""
_parser = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Block:
    """What a reader is told to type."""

    text: str

    @property
    def name(self) -> str:
        return self.text.strip().splitlines()[0].strip()


@cache
def tokens(page: Path) -> list[Token]:
    return _parser.parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> list[Block]:
    """The command blocks of a page, in order."""
    return [
        Block(token.content)
        for token in tokens(page)
        if token.type == "code_block" or (token.type == "fence" and token.info.strip() in SHELLS)
    ]


def links(page: Path) -> Iterator[str]:
    """Where a page's links and pictures lead."""
    for token in tokens(page):
        for part in token.children or ():
            if part.type in {"link_open", "image"}:
                yield str(part.attrs.get("href") or part.attrs.get("src"))


@cache
def anchors(page: Path) -> frozenset[str]:
    """What can follow the # of a link to a page: its headings as GitHub names them, and its own anchors."""
    found = tokens(page)
    named: Counter[str] = Counter()
    names = set(re.findall(r'<a id="([^"]+)">', page.read_text(encoding="utf-8")))
    for token, inside in pairwise(found):
        if token.type == "heading_open":
            slug = _slug(
                "".join(part.content for part in inside.children or () if part.type in {"text", "code_inline"})
            )
            names.add(f"{slug}-{named[slug]}" if named[slug] else slug)
            named[slug] += 1
    return frozenset(names)


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
