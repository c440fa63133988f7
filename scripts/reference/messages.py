"""Every message, from its struct and its golden example."""

import json
from pathlib import Path
from typing import Any

import msgspec

from driftline import messages
from driftline.messages import Topic
from scripts.reference import docstrings
from scripts.reference.markdown import fence, page, sentence, table
from scripts.reference.schema import words

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "core" / "golden"
HEAD = ("Field", "Type", "Meaning")
INTRODUCTION = """\
All but dead letters and the edge's id begin with `stream` and `key`, which name the series and are the message's key
(`stream/key`), and `t`, the record's time. `received` is when ingest accepted the record, in seconds since the epoch. A
field that "may be missing" was added later; ignore fields that you don't know. A message may be sent again after a
crash: the same name, the same content ([what exactly-once means here](../explain/exactly-once.md))."""


def render() -> str:
    topics = [value for value in vars(messages).values() if isinstance(value, Topic)]
    return page("Messages", _contract(), INTRODUCTION, *map(_section, topics))


def _contract() -> str:
    """What holds for all messages, as their module says it."""
    return (messages.__doc__ or "").split("\n\n", 1)[-1]


def _section(topic: Topic[Any]) -> str:
    kind: type[msgspec.Struct] = topic.type
    schemas = msgspec.json.schema_components([kind])[1][kind.__name__]["properties"]
    texts = docstrings.of_fields(kind)
    rows = [
        (
            f"`{field.encode_name}`",
            words(schemas[field.encode_name], str) + ("" if field.required else "; may be missing"),
            sentence(texts.get(field.name, "")),
        )
        for field in msgspec.structs.fields(kind)
    ]
    golden = json.loads((GOLDEN / f"{topic.name}.json").read_bytes())
    example = fence(json.dumps(golden, indent=2, ensure_ascii=False), "json")
    return "\n\n".join([f"## `{topic.name}`", sentence(kind.__doc__ or ""), table(HEAD, rows), example])
