"""Every setting of every service, from the settings' own classes."""

import socket
from collections.abc import Mapping

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from driftline.service.settings import Settings
from driftline_combiner.settings import CombinerSettings
from driftline_edge.settings import EdgeSettings
from driftline_inference.settings import InferenceSettings
from driftline_ingest.settings import IngestSettings
from driftline_trainer.settings import TrainerSettings
from scripts.reference import docstrings
from scripts.reference.markdown import page, sentence, table
from scripts.reference.schema import words

SERVICES: Mapping[str, type[Settings]] = {
    "ingest": IngestSettings,
    "inference": InferenceSettings,
    "combiner": CombinerSettings,
    "trainer": TrainerSettings,
    "edge": EdgeSettings,
}
FACTORIES: Mapping[object, str] = {socket.gethostname: "the machine's name", dict: "`{}`", list: "`[]`"}
HEAD = ("Setting", "Default", "Allowed", "Effect")
INTRODUCTION = """\
Settings come from the environment. `DRIFTLINE_SECRETS` names a folder of files, each called like a setting in small
letters (`driftline_token`) and holding its value: use it for secrets. A service with a wrong setting does not start;
its message names the setting, what was found and what was expected.

In [the edge as one process](../edge.md) all services read the same settings; `DRIFTLINE_<SERVICE>_<SETTING>`, such as
`DRIFTLINE_INGEST_PORT`, gives one of them a port, host, hosts, connections, head_timeout or body_timeout of its own.

Variables that begin with `OTEL_` are those of OpenTelemetry's specification and mean what it says:
[traces](../traces.md) are off unless `OTEL_EXPORTER_OTLP_ENDPOINT` names a receiver."""


def render() -> str:
    own = [_section(name, kind) for name, kind in SERVICES.items()]
    return page("Settings", INTRODUCTION, "## All services", _table(Settings, set(Settings.model_fields)), *own)


def _section(name: str, kind: type[Settings]) -> str:
    """What a service has beside what all have, or has another default for."""
    shared = Settings.model_fields
    own = {
        field
        for field, info in kind.model_fields.items()
        if field not in shared or info.default != shared[field].default
    }
    return f"## {name.capitalize()}\n\n{_table(kind, own)}"


def _table(kind: type[Settings], fields: set[str]) -> str:
    texts, schemas = docstrings.of_fields(kind), kind.model_json_schema()["properties"]
    return table(
        HEAD,
        (
            (f"`DRIFTLINE_{name.upper()}`", default(info), _allowed(schemas[name]), sentence(texts.get(name, "")))
            for name, info in kind.model_fields.items()
            if name in fields
        ),
    )


def _allowed(schema: Mapping[str, object]) -> str:
    return words(schema, str).removesuffix(" or null")


def default(info: FieldInfo) -> str:
    if info.default_factory is not None:
        return FACTORIES.get(info.default_factory, "worked out at the start")
    if info.default is PydanticUndefined:
        return "must be given"
    if info.default is None or info.default == "":
        return "none"
    value = str(info.default)
    return f"`{value.lower() if isinstance(info.default, bool) else value}`"
