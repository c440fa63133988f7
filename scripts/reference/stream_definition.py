"""Every key of a stream's definition, from the definition's own models."""

import json
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_values import Section
from scripts.reference import docstrings
from scripts.reference.markdown import page, sentence, table
from scripts.reference.schema import name_of, words

HEAD = ("Key", "Default", "Allowed", "Meaning")
INTRODUCTION = """\
A stream is one YAML file in the folder of definitions (`DRIFTLINE_STREAMS`). Errors name the file,
the line, the key, what was found and what was expected.
[streams/outdoor-temperature.yaml](../../streams/outdoor-temperature.yaml) is a complete example."""


def render() -> str:
    schema = StreamDefinition.model_json_schema()
    sections = {_section_of(part): key for key, part in schema["properties"].items() if _section_of(part)}
    parts = [_section(name, key, schema["$defs"][name]["properties"], sections) for name, key in sections.items()]
    top = "\n\n".join(["## The stream", _table(StreamDefinition, schema["properties"], sections)])
    return page("The stream definition", INTRODUCTION, top, *parts)


def _section(name: str, key: str, schemas: dict[str, Any], sections: dict[str, str]) -> str:
    model = next(section for section in Section.__subclasses__() if section.__name__ == name)
    return "\n\n".join([f"## `{key}`", sentence(model.__doc__ or ""), _table(model, schemas, sections)])


def _section_of(schema: dict[str, Any]) -> str:
    """The name of the model that a key holds, itself or by name, or nothing for a plain value."""
    held = schema.get("additionalProperties")
    parts = [schema, *schema.get("anyOf", []), *([held] if isinstance(held, dict) else [])]
    references = [part["$ref"] for part in parts if "$ref" in part]
    return name_of(references[0]) if references else ""


def _table(model: type[BaseModel], schemas: dict[str, Any], sections: dict[str, str]) -> str:
    texts = docstrings.of_fields(model)

    def link(name: str) -> str:
        return f"[a section](#{sections[name]})"

    return table(
        HEAD,
        (
            (
                f"`{info.alias or name}`",
                _default(info),
                words(schemas[info.alias or name], link).removesuffix(" or null"),
                sentence(texts.get(name, "")) or _first_line(info),
            )
            for name, info in model.model_fields.items()
        ),
    )


def _first_line(info: FieldInfo) -> str:
    kind = info.annotation
    model = isinstance(kind, type) and issubclass(kind, BaseModel)
    return sentence((kind.__doc__ or "").split("\n")[0]) if model and kind is not None else ""


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "must be given"
    value = info.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "all its defaults"
    if value in (None, "", (), {}):
        return "none"
    return f"`{json.dumps(value)}`" if isinstance(value, tuple) else f"`{value}`"
