"""Every method of the client, its answers and its errors, from their own code."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from driftline_client import Client, calls, errors, live
from scripts.reference import docstrings
from scripts.reference.markdown import fence, page, sentence, table

FIELDS = ("Field", "Type", "Meaning")
ERRORS = ("Error", "Meaning")
INTRODUCTION = """\
`AsyncClient` has the same methods: their answers are awaited, and what a method yields is read by `async for`. See
[the client](../client.md) for examples."""


def render() -> str:
    methods = [
        f"### `{name}`\n\n{_method(name, method)}"
        for name, method in inspect.getmembers(Client, inspect.isfunction)
        if not name.startswith("_")
    ]
    structs = [f"### `{kind.__name__}`\n\n{_struct(kind)}" for kind in _structs()]
    constructor = fence(f"Client{inspect.signature(Client)}", "python")
    head = "\n\n".join(["## `Client`", inspect.getdoc(Client) or "", constructor])
    return page(
        "The client", INTRODUCTION, head, "## Methods", *methods, "## Answers", *structs, "## Errors", _errors()
    )


def _method(name: str, method: Callable[..., Any]) -> str:
    asked = inspect.unwrap(method)
    parameters = [value for parameter, value in inspect.signature(asked).parameters.items() if parameter != "self"]
    taken = _short(str(inspect.Signature(parameters)))
    return "\n\n".join([fence(f"{name}{taken} -> {_answer(method, asked)}", "python"), inspect.getdoc(asked) or ""])


def _answer(method: Callable[..., Any], asked: Callable[..., Any]) -> str:
    """Of a call what it is answered with; of a method that pages one of them at a time."""
    said = _words(inspect.signature(asked).return_annotation)
    inner = said.removeprefix("Call[").removesuffix("]") if said.startswith("Call[") else said
    is_paged = inspect.unwrap(method) is not method and "paging" in method.__code__.co_qualname
    return f"Iterator[{inner.removeprefix('list[').removesuffix(']')}]" if is_paged else inner


def _structs() -> Iterator[type[msgspec.Struct]]:
    modules = [*(getattr(calls, name) for name in calls.__all__), live]
    for module in modules:
        for kind in vars(module).values():
            is_own = isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__
            if is_own and not kind.__name__.startswith("_"):
                yield kind


def _struct(kind: type[msgspec.Struct]) -> str:
    texts = docstrings.of_fields(kind)
    rows = [
        (f"`{field.name}`", f"`{_words(field.type)}`", sentence(texts.get(field.name, "")))
        for field in msgspec.structs.fields(kind)
    ]
    return "\n\n".join([sentence(kind.__doc__ or ""), table(FIELDS, rows)])


def _errors() -> str:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ClientError)]
    return table(ERRORS, [(f"`{kind.__name__}`", (inspect.getdoc(kind) or "").split("\n\n")[0]) for kind in kinds])


def _words(annotation: Any) -> str:
    return _short(inspect.formatannotation(annotation))


def _short(text: str) -> str:
    """Types by their own names alone."""
    return re.sub(r"(?:[a-z_]+\.)+(\w+)", r"\1", text).replace("~", "")
