"""Documents are plain English: the words that made them hard to read stay out."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.markdown import tokens

pytestmark = pytest.mark.unit
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
WORDS = {
    r"(?:is|are|was|were|be|been|gets?) told": '"is reported", "is logged", "learns"',
    r"stands?(?!-in| for)": '"is", "lies", "stops"',
    r"(?:is|are|was|were|be|been|stays?|stayed|goes) away": '"is unavailable", "is missing", "does not run"',
    r"begun": '"began", "started"',
    r"anew": '"again", "restarts", "new"',
    r"mend(?:s|ed|ing)?": '"fixes", "repairs"',
    r"beside": '"compared with", "next to", "in addition to", "in parallel"',
}
"""By pattern, what plain English says instead."""
SUBJECT = re.compile(r"(?:^|[.:;!] )(?:who|what)(?:ever)? [^.?!]*(?:[.!]|$)", re.IGNORECASE)
"""A sentence that begins with "who" or "what" and is no question: name the person or the thing."""


def complaints(text: str) -> Iterator[str]:
    """What to change in one paragraph, heading or cell."""
    for pattern, instead in WORDS.items():
        for found in re.finditer(rf"\b{pattern}\b", text, re.IGNORECASE):
            yield f"found {found[0]!r}, expected {instead}"
    for found in SUBJECT.finditer(text):
        yield f"found {found[0].strip(' .;:')!r}, expected a noun as its subject"


def passages(page: Path) -> Iterator[tuple[int, str]]:
    """The first line and the prose of every paragraph and cell, without code; headings may begin with "what"."""
    label, line = False, 0
    for token in tokens(page):
        if token.type in {"heading_open", "th_open"}:
            label = True
        elif token.type in {"heading_close", "th_close"}:
            label = False
        if token.map is not None:
            line = token.map[0] + 1
        if token.type == "inline":
            kept = (part.content if part.type == "text" else " " for part in token.children or ())
            yield line, f"{'# ' if label else ''}{''.join(kept).strip()}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_plain_english(page: Path):
    found = [f"{page.relative_to(ROOT)}:{line}: {said}" for line, text in passages(page) for said in complaints(text)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "The trainer is told of it.",
        "Its name stands in the log.",
        "The broker is away.",
        "The session is begun anew.",
        "When the link is mended it goes on.",
        "The error beside that of persistence.",
        "Sent again. What was seen is dropped.",
        "Whoever reads it decides alike",
    ],
)
def test_the_old_ways_are_found(text: str):
    assert list(complaints(text))


@pytest.mark.parametrize("text", ["What survives a crash?", "Stand-ins for images", "It says what it found."])
def test_plain_sentences_pass(text: str):
    assert not list(complaints(text))
