"""A document that says "shown by" a test names one that there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
PLACED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
BARE = re.compile(r"`(test_\w+)`")
SHOWN = re.compile(r"^(shown by|test)$")


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {function.name for function in functions if function.name.startswith("test_")}


ALL = {path.relative_to(ROOT).as_posix(): names_in(path) for path in (ROOT / "tests").rglob("test_*.py")}


def rows_of_proof(text: str) -> Iterator[str]:
    """The last cells of the tables whose last column names tests."""
    is_proof = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            is_proof = False
        elif SHOWN.match(cells[-1]):
            is_proof = True
        elif is_proof and set(cells[-1]) != {"-"}:
            yield cells[-1]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_a_document_names_is_there(document: Path):
    text = document.read_text()
    for file, name in PLACED.findall(text):
        assert file in ALL, file
        assert not name or name in ALL[file], f"{file} has no {name}"
    for name in BARE.findall(text):
        assert any(name in names for names in ALL.values()), name


@pytest.mark.parametrize("name", ["security.md", "durability.md", "models.md"])
def test_every_row_of_a_proof_names_the_test_itself(name: str):
    rows = list(rows_of_proof((ROOT / "docs" / name).read_text()))
    assert len(rows) > 5
    for row in rows:
        named = [found for _, found in PLACED.findall(row)] + BARE.findall(row)
        assert named, row
        assert all(named), row
