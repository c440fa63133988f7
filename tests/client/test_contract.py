"""The client's answers have the fields that the services describe: all of them, and no others."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import pytest

from driftline.messages import Alert, Blend
from driftline_client import LiveBlend, RaisedAlert, calls
from driftline_client.calls.call import Call
from scripts.reference.rest import describe

Schema = Mapping[str, Any]
NAME = "sun.batch"
"""Of a model, which is a name of anything else as well."""
OWN_READERS = {"history", "readiness", "release", "metrics", "forget_join_token", "records", "futures"}
"""Calls whose answers are made of what the services send, not the same."""
OF_ONE = {"stories", "by_edge", "model"}
"""Fields of one roll-out or version that was asked for, which lists of them are without."""


def makers() -> dict[str, Callable[..., Call[Any]]]:
    functions = {
        name: function
        for module in map(calls.__dict__.__getitem__, calls.__all__)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    return {
        name: function
        for name, function in functions.items()
        if typing.get_origin(typing.get_type_hints(function)["return"]) is Call and name not in OWN_READERS
    }


@pytest.fixture(scope="module")
def described() -> Mapping[str, Schema]:
    return describe()


def made(maker: Callable[..., Call[Any]]) -> Call[Any]:
    required = {p.name for p in inspect.signature(maker).parameters.values() if p.default is p.empty}
    words = {"service": "ingest", "act": "pause"}
    return maker(**{name: words.get(name, NAME) for name in required})


def answer_of(described: Mapping[str, Schema], call: Call[Any]) -> tuple[Schema, Schema]:
    """The service's description, and in it the schema of the answer."""
    document = described[call.service]
    for path, operations in document["paths"].items():
        pattern = re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path))
        operation = operations.get(call.method.lower())
        if operation is not None and re.fullmatch(pattern, call.path):
            good = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
            return document, good["content"]["application/json"]["schema"]
    raise AssertionError(f"{call.service} has no {call.method} {call.path}")


def differences(document: Schema, schema: Schema, kind: Any, where: str) -> Iterator[str]:
    schema, origin, arguments = plain(document, schema), typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union}:
        kinds = [argument for argument in arguments if argument is not types.NoneType]
        yield from differences(document, schema, kinds[0], where)
    elif origin is list:
        yield from differences(document, schema["items"], arguments[0], f"{where}[]")
    elif origin is dict and isinstance(schema.get("additionalProperties"), dict):
        yield from differences(document, schema["additionalProperties"], arguments[1], f"{where}{{}}")
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        unlike = (schema["properties"].keys() ^ fields.keys()) - OF_ONE
        yield from (f"{where}.{name}" for name in sorted(unlike))
        for name in fields.keys() & schema["properties"].keys():
            yield from differences(document, schema["properties"][name], fields[name], f"{where}.{name}")


def plain(document: Schema, schema: Schema) -> Schema:
    """Without references and without null."""
    if "$ref" in schema:
        return plain(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return plain(document, next(part for part in schema["anyOf"] if part.get("type") != "null"))
    return schema


@pytest.mark.parametrize("name", makers())
def test_answers_are_as_the_services_describe_them(described: Mapping[str, Schema], name: str):
    maker = makers()[name]
    document, schema = answer_of(described, made(maker))
    (answer,) = typing.get_args(typing.get_type_hints(maker)["return"])
    assert list(differences(document, schema, answer, name)) == []


def test_former_forecasts_are_as_the_combiner_describes_them(described: Mapping[str, Schema]):
    document, schema = answer_of(described, calls.history.history("sun", NAME))
    rows = plain(document, schema)["properties"]["rows"]
    assert list(differences(document, rows, list[calls.history.FormerForecasts], "rows")) == []


@pytest.mark.parametrize(("event", "message"), [(LiveBlend, Blend), (RaisedAlert, Alert)])
def test_live_events_are_as_on_their_topic(event: type[msgspec.Struct], message: type[msgspec.Struct]):
    assert event.__struct_fields__ == message.__struct_fields__
