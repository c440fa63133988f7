"""The file of sinks: by name a type, where the other side is, and how to show who we are. Secrets are in files."""

import logging
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from driftline import yaml_text
from driftline.errors import InvalidInput
from driftline.service.setting_checks import shown
from driftline.service.settings import Port

log = logging.getLogger(__name__)
NAME: Final = r"^[a-z0-9][a-z0-9-]{0,39}$"
"""Of a sink: a part of its consumer group's name."""
NAMED_BY: Final = ("stream", "key", "horizon")
"""Tags that points have anyway."""


def _topic_part(text: str) -> str:
    """Raises ValueError."""
    if re.fullmatch(r"[^+#\0/]+(/[^+#\0/]+)*", text) is None or text.startswith("$"):
        raise ValueError("expected a topic such as driftline or home/forecasts")
    return text


def http_url(text: str) -> str:
    """Raises ValueError for what is no URL, and for one with a password: logs show URLs."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("expected a URL such as https://host:port/path")
    if "@" in parts.netloc:
        raise ValueError("expected a URL without a user and a password")
    return text


TopicPart = Annotated[str, AfterValidator(_topic_part)]
HttpUrl = Annotated[str, AfterValidator(http_url)]


def _tag(text: str) -> str:
    """Raises ValueError."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", text) is None or text in NAMED_BY:
        raise ValueError(f"expected a name such as site, and none of {', '.join(NAMED_BY)}")
    return text


Tag = Annotated[str, AfterValidator(_tag)]


class SinkSection(BaseModel):
    """One sink of the file; its `type` says which."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MqttSection(SinkSection):
    """Forecasts as retained messages, and devices for Home Assistant."""

    type: Literal["mqtt"]
    host: str = Field(min_length=1)
    port: Port = 1883
    username: str | None = None
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    version: Literal["5", "3.1.1"] = "5"
    prefix: TopicPart = "driftline"
    """In front of all topics. Edges that share a broker need one each."""
    discovery: TopicPart | None = "homeassistant"
    """Home Assistant's prefix of discovery; `null` does without it."""


class WebhookSection(SinkSection):
    """Alerts as requests by HTTP."""

    type: Literal["webhook"]
    url: HttpUrl | None = None
    url_file: Path | None = None
    """Where the URL itself is a secret, as that of Slack."""
    preset: Literal["json", "slack", "ntfy"] = "json"
    secret_file: Path | None = None
    """What bodies are signed with."""
    token_file: Path | None = None
    """What is sent as bearer token."""
    ca_file: Path | None = None
    kinds: tuple[str, ...] = ()
    """Kinds of alerts that are sent; by default all."""
    begin: Literal["now", "earliest"] = "now"
    """Whether alerts from before the sink's first start are sent, as far as the bus still has them."""

    @model_validator(mode="after")
    def _has_one_url(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("expected one of url and url_file")
        return self


class InfluxSection(SinkSection):
    """Forecasts and what was observed as points, for InfluxDB and what else takes its line protocol."""

    type: Literal["influx"]
    url: HttpUrl
    bucket: str = Field(min_length=1)
    """With version 1 a database, or DATABASE/POLICY."""
    org: str | None = None
    api: Literal["1", "2"] = "2"
    """The version whose write interface is called; that of 2 is InfluxDB 3's, too."""
    token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    tags: dict[Tag, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    """Tags of each point beside stream, key and horizon, such as `site: north`."""

    @model_validator(mode="after")
    def _shows_one_thing(self) -> Self:
        if self.token_file is not None and self.username is not None:
            raise ValueError("expected one of token_file and username")
        if (self.username is None) != (self.password_file is None):
            raise ValueError("expected username and password_file together")
        return self


class PostgresSection(SinkSection):
    """Forecasts and what was observed as rows of tables."""

    type: Literal["postgres"]
    host: str = Field(min_length=1)
    """Or the folder of the server's socket."""
    port: Port = 5432
    database: str = Field(min_length=1)
    username: str = Field(min_length=1)
    password_file: Path | None = None
    tls: bool = False
    """Whether the server must show a certificate for its name; without it, encryption is up to the server."""
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    db_schema: str = Field("driftline", alias="schema", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    """Where the tables are. Edges that share a database need one each."""

    @model_validator(mode="after")
    def _has_a_client(self) -> Self:
        if find_spec("psycopg") is None:
            raise ValueError("expected psycopg beside this service: pip install 'driftline-combiner[postgres]'")
        return self


Section = Annotated[MqttSection | WebhookSection | InfluxSection | PostgresSection, Field(discriminator="type")]
_SECTIONS: TypeAdapter[dict[str, Section]] = TypeAdapter(dict[Annotated[str, Field(pattern=NAME)], Section])


def read_sinks(path: Path) -> dict[str, Section]:
    """By name the sinks of a file. Raises InvalidInput: a line a mistake."""
    try:
        text = path.read_text(encoding="utf-8")
        content, repeated = yaml_text.read(text), list(yaml_text.repeated_keys(text))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: can't be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    # As of definitions: what people have must go on working, so it is no error.
    for line, key in repeated:
        log.warning("%s: line %d: found %r for the second time, which alone counts", path, line, key)
    sections = content.get("sinks") if isinstance(content, Mapping) else None
    if not isinstance(sections, Mapping) or set(content) != {"sinks"}:
        raise InvalidInput(f"{path}: found {type(content).__name__}, expected one key `sinks` with a sink by each name")
    try:
        return _SECTIONS.validate_python(sections)
    except ValidationError as error:
        raise InvalidInput("\n".join(_mistake(path, detail) for detail in error.errors())) from error


def _mistake(path: Path, detail: Any) -> str:
    where = ".".join(["sinks", *(str(part) for part in detail["loc"])])
    if detail["type"] == "missing":
        return f"{path}: {where}: found nothing, expected this key"
    if detail["type"] == "extra_forbidden":
        return f"{path}: {where}: found a key that no sink of this type has"
    message = detail["msg"].removeprefix("Value error, ")
    expected = message if message.startswith("expected") else f"expected: {message}"
    return f"{path}: {where}: found {shown(detail['input'])}, {expected}"
