"""A public class has a name of its own, and no value is called by a word that says nothing of it."""

import ast
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.boundaries.test_pure import PACKAGES
from tests.conftest import ROOT

pytestmark = pytest.mark.unit
WORDS = frozenset({"found", "made", "told", "each", "place", "there"})
WIRE = frozenset({"Wrong.found", "RefusedRow.found", "RefusedRecord.found", "MalformedPart.found"})
"""Fields of answers: their names are part of the REST interface."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for folder in (*PACKAGES, "scripts"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def named(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of every variable, argument, attribute and function that is given a value."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield node.lineno, name


def on_the_wire(tree: ast.AST) -> set[int]:
    """Lines of the fields of WIRE."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {line for owner in classes for line, name in named(owner) if f"{owner.name}.{name}" in WIRE}


def wrong(tree: ast.AST) -> list[str]:
    fields = on_the_wire(tree)
    return [f"{line}: {name}" for line, name in named(tree) if name in WORDS and line not in fields]


@pytest.mark.parametrize(
    "code",
    [
        "found = 1",
        "found: int = 1",
        "def f(told): ...",
        "def made(): ...",
        "for each in (): ...",
        "[each for each in ()]",
        "self.found = 1",
        "if (there := 1): ...",
        "with f() as place: ...",
        "class A:\n    found: str",
        "lambda found: 1",
    ],
)
def test_the_words_are_found(code: str):
    assert wrong(ast.parse(code))


def test_a_field_of_an_answer_and_the_use_of_a_name_are_no_values():
    assert not wrong(ast.parse("class RefusedRow:\n    found: str\nprint(answer.found, found)"))


def test_a_value_is_called_what_it_is():
    assert [f"{path}:{problem}" for path, tree in modules() for problem in wrong(tree)] == []


def test_no_two_public_classes_have_one_name():
    defined = defaultdict(list)
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined[node.name].append(f"{path}:{node.lineno}")
    assert {name: lines for name, lines in defined.items() if len(lines) > 1} == {}
