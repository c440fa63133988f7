"""JSON schema in words: what a value may be."""

from collections.abc import Callable, Mapping
from typing import Any

Schema = Mapping[str, Any]
Link = Callable[[str], str]
"""From the name of a schema to how a page speaks of it."""

PLAIN = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "null": "null",
}
FORMATS = {"path": "path", "password": "text, secret", "file-path": "path", "date-time": "time", "binary": "bytes"}
BOUNDS = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "below {}"),
)


def name_of(reference: str) -> str:
    return reference.rsplit("/", 1)[-1]


def words(schema: Schema, link: Link) -> str:
    """What a value of `schema` may be."""
    if "$ref" in schema:
        return link(name_of(schema["$ref"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    parts = next((schema[union] for union in ("anyOf", "oneOf", "allOf") if union in schema), None)
    if parts is not None:
        return " or ".join(dict.fromkeys(words(part, link) for part in parts))
    return _by_type.get(schema.get("type", ""), _plain)(schema, link)


def _object(schema: Schema, link: Link) -> str:
    inner = schema.get("additionalProperties")
    return f"object of {words(inner, link)}" if isinstance(inner, dict) and inner else "object"


def _array(schema: Schema, link: Link) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(words(part, link) for part in schema['prefixItems'])}]"
    items = schema.get("items")
    return f"list of {words(items, link)}" if items else "list"


def _plain(schema: Schema, _: Link) -> str:
    kind = FORMATS.get(schema.get("format", "")) or PLAIN.get(schema.get("type", ""), "anything")
    bounds = [text.format(f"{schema[name]:,}") for name, text in BOUNDS if name in schema]
    if "pattern" in schema:
        bounds.append(f"like `{schema['pattern']}`")
    if schema.get("minLength") == schema.get("maxLength") == 1:
        bounds.append("one character")
    return ", ".join([kind, *bounds])


_by_type: Mapping[str, Callable[[Schema, Link], str]] = {"array": _array, "object": _object}
