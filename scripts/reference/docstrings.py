"""The texts under a class's fields, which Python itself does not keep."""

import ast
import inspect
import textwrap
from itertools import pairwise


def of_fields(kind: type) -> dict[str, str]:
    """By field its text, where it has one; those of the classes that `kind` is made of count, too."""
    texts: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        if parent.__module__.startswith("driftline"):
            texts |= _own(parent)
    return texts


def _own(kind: type) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    if not isinstance(tree, ast.ClassDef):
        return {}
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(tree.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
