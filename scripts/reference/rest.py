"""Every operation of the four services, from their OpenAPI descriptions."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import SecretStr

from driftline.bus.memory import MemoryBus
from driftline.models.signing import Signer, new_key
from driftline.service.problems import MEDIA_TYPE, TYPES
from driftline.store.folder import FolderStore
from driftline.streams.definition_files import load_folder
from driftline_combiner.app import create_app as create_combiner
from driftline_combiner.settings import CombinerSettings
from driftline_inference.app import create_app as create_inference
from driftline_inference.settings import InferenceSettings
from driftline_ingest.app import create_app as create_ingest
from driftline_ingest.settings import IngestSettings
from driftline_trainer.app import create_app as create_trainer
from driftline_trainer.settings import TrainerSettings
from scripts.reference.markdown import fence, page, sentence, table
from scripts.reference.schema import Link, words

STREAMS = Path(__file__).resolve().parents[2] / "streams"
Described = dict[str, Any]
INTRODUCTION = """\
Every service describes itself at `/openapi.json` and, for people, at `/docs`; this page is generated from that.
Requests that change something need `Authorization: Bearer TOKEN` if the service has a token, and so do all others where
reading is closed: see [who may look, send and change](../security.md#who-may-look-send-and-change). An
error's body is a [`Problem`](#all-problem) of [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457), with the media type
`application/problem+json`; only doors that speak another protocol, such as the Open Inference Protocol or InfluxDB's,
answer in its form. Times are milliseconds since 1970-01-01 UTC unless said otherwise."""
PROBLEMS = """\
## Problem types

`about:blank` is the type of a problem about which its status says all. The others lead to a page of the service itself,
`/docs/problems`, and have fields of their own:"""


def describe() -> dict[str, Described]:
    """By service its OpenAPI description."""
    streams = load_folder(STREAMS)
    key = new_key()
    inference = InferenceSettings(trusted_keys=Signer(key).public)
    with TemporaryDirectory() as folder:
        store, bus = FolderStore(Path(folder)), MemoryBus()
        apps = {
            "ingest": create_ingest(IngestSettings(), bus, store, streams=streams),
            "inference": create_inference(inference, bus, store, streams=streams),
            "combiner": create_combiner(CombinerSettings(), bus, streams=streams),
            "trainer": create_trainer(TrainerSettings(signing_key=SecretStr(key)), store, streams=streams),
        }
        return {name: app.openapi() for name, app in apps.items()}


def render() -> str:
    described = describe()
    shared = _shared([document["paths"] for document in described.values()])
    bodies = _shared([document["components"]["schemas"] for document in described.values()])
    first = next(iter(described.values()))
    link = partial(_link, bodies)
    parts = ["## All services", *_operations(first["paths"], shared, partial(link, "all"))]
    parts += _bodies("all", first, bodies, partial(link, "all"))
    parts += [PROBLEMS, table(("Type", "Meaning"), ((f"`{kind.uri}`", kind.meaning) for kind in TYPES))]
    for name, document in described.items():
        paths = {path for path in document["paths"] if path not in shared}
        schemas = {schema for schema in document["components"]["schemas"] if schema not in bodies}
        here = partial(link, name)
        parts += [f"## {name.capitalize()}", sentence(document["info"].get("description", ""))]
        parts += [*_operations(document["paths"], paths, here), *_bodies(name, document, schemas, here)]
    return page("REST", INTRODUCTION, *parts)


def _shared(parts: list[Described]) -> set[str]:
    """The names that mean the same in all services."""
    first, *others = parts
    return {name for name, part in first.items() if all(part == other.get(name) for other in others)}


def _link(shared: set[str], service: str, name: str) -> str:
    return f"[`{name}`](#{'all' if name in shared else service}-{name.lower()})"


def _operations(paths: Described, wanted: set[str], link: Link) -> list[str]:
    return [
        _operation(method, path, operation, link)
        for path, operations in paths.items()
        if path in wanted
        for method, operation in operations.items()
    ]


def _operation(method: str, path: str, operation: Described, link: Link) -> str:
    parts = [f"### `{method.upper()} {path}`", sentence(operation["summary"])]
    parts.append("\n\n".join(" ".join(part.split()) for part in operation.get("description", "").split("\n\n")))
    if "security" in operation:
        parts.append("Needs the token.")
    parts.append(_parameters(operation.get("parameters", []), link))
    parts.append(_request(operation.get("requestBody", {}).get("content", {}), link))
    answers = [(status, *_answer(answer, link)) for status, answer in operation["responses"].items()]
    parts.append(table(("Answer", "Body", "Meaning"), answers))
    return "\n\n".join(part for part in parts if part)


def _parameters(parameters: list[Described], link: Link) -> str:
    rows = (
        (
            f"`{parameter['name']}`",
            parameter["in"] + ("" if parameter.get("required") else ", optional"),
            words(parameter["schema"], link),
            sentence(parameter.get("description", "")),
        )
        for parameter in parameters
    )
    return table(("Parameter", "Where", "Allowed", "Meaning"), rows)


def _request(content: Described, link: Link) -> str:
    parts = []
    for kind, body in content.items():
        end = ", for example:" if "example" in body else "."
        parts.append(f"Body, `{kind}`: {words(body.get('schema', {}), link)}{end}")
        if "example" in body:
            parts.append(_example(body["example"]))
    return "\n\n".join(parts)


def _example(example: Any) -> str:
    text = isinstance(example, str)
    return fence(example if text else json.dumps(example, indent=2, ensure_ascii=False), "text" if text else "json")


def _answer(answer: Described, link: Link) -> tuple[str, str]:
    content: Mapping[str, Described] = answer.get("content", {})
    bodies = [
        words(body.get("schema", {}), link) if kind in {"application/json", MEDIA_TYPE} else f"`{kind}`"
        for kind, body in content.items()
    ]
    meaning = answer.get("description", "").replace("Successful Response", "Done")
    return ", ".join(bodies) or "none", sentence(meaning)


def _bodies(service: str, described: Described, wanted: set[str], link: Link) -> list[str]:
    schemas = described["components"]["schemas"]
    return [_body(service, name, schema, link) for name, schema in schemas.items() if name in wanted]


def _body(service: str, name: str, schema: Described, link: Link) -> str:
    required = schema.get("required", [])
    rows = (
        (
            f"`{field}`",
            words(part, link) + ("" if field in required else "; may be missing"),
            sentence(part.get("description", "")),
        )
        for field, part in schema.get("properties", {}).items()
    )
    fields = table(("Field", "Type", "Meaning"), rows) or sentence(words(schema, link))
    # An anchor of its own, since two services may have bodies of one name.
    head = f'#### <a id="{service}-{name.lower()}"></a>`{name}`'
    return "\n\n".join(part for part in (head, sentence(schema.get("description", "")), fields) if part)
