"""Settings of the combiner."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import filterfalse
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from driftline.errors import InvalidInput
from driftline.names import PORTS
from driftline.service.setting_checks import line, of_url, variable
from driftline.service.settings import Port, Settings, Token, listed, parsed
from driftline_combiner.sinks.settings import Section, read_sinks

ANY_ORIGIN = "*"


def _is_origin(text: str) -> bool:
    """Whether a browser may send it as the origin of a page."""
    parts = urlsplit(text)
    return text == ANY_ORIGIN or (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and text == f"{parts.scheme}://{parts.netloc}".lower()
    )


def _of_origin(setting: str, text: str) -> str:
    return line(setting, text, "an origin such as https://host:port, in lower case and without a path, or `*`")


class CombinerSettings(Settings):
    """The environment's DRIFTLINE_… variables that all services share."""

    port: Port = PORTS["combiner"]
    page_points: int = Field(1000, ge=0, le=10_000)
    """Blends of each series that the dashboard begins with, kept in memory: at most 30 MB of all
    series together, so with many series fewer of each. 0 does without the dashboard."""
    page_services: Annotated[dict[str, str], NoDecode, BeforeValidator(parsed)] = Field(default_factory=dict)
    """By name the URLs of the services whose health and models the dashboard shows, as JSON."""
    page_token: Token | None = None
    """Token that the dashboard shows to those services; a viewer's is enough. By default `token`, where a token is
    needed to read here, too."""
    page_watchers: int = Field(100, ge=1)
    """Readers at once of the live events, such as open dashboards."""
    cors: Annotated[tuple[str, ...], NoDecode, BeforeValidator(listed)] = ()
    """Origins of other pages whose scripts may read this service's answers, with commas, such as
    `https://home.example.org`; `*` for any page. By default none may."""
    embed: Annotated[tuple[str, ...], NoDecode, BeforeValidator(listed)] = ()
    """Origins of other pages that may show `/embed/<stream>/<key>` in a frame, with commas, such as
    `https://home.example.org`; `*` for any page. By default pages of this service's own address may, and no others."""
    metrics_by_key: bool = False
    """Whether errors and weights of single series are exported to Prometheus, too: of the first hundred keys, in order,
    of each stream."""
    trainer: str | None = None
    """The trainer's URL, which is asked for a new speed model on drift and on negative skill: with `token`, if there is
    one; an edge that has joined asks the cloud with its own credential."""

    sinks: Path | None = None
    """File in YAML of where forecasts and alerts go beyond the bus, such as an MQTT broker."""

    @property
    def asks_the_cloud(self) -> bool:
        """Whether the trainer is that of the fleet that this edge has joined: its credential goes nowhere else."""
        return self.store_is_door and self.trainer == self.store

    def trainer_token(self) -> str | None:
        """What is shown to the trainer now: another credential takes its place every month."""
        token = self.store_token if self.asks_the_cloud else self.token
        if self.asks_the_cloud and self.store_token_file is not None:
            with suppress(OSError, UnicodeDecodeError):
                return self.store_token_file.read_text(encoding="ascii").strip()
        return token.get_secret_value() if token is not None else None

    def page_shows(self) -> str | None:
        """What is shown to `page_services`."""
        token = self.page_token or (self.token if self.is_closed else None)
        return token.get_secret_value() if token is not None else None

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        for name, url in [("trainer", self.trainer), *(("page_services", url) for url in self.page_services.values())]:
            yield from of_url(name, url)
        for name, origins in (("cors", self.cors), ("embed", self.embed)):
            yield from (_of_origin(name, text) for text in filterfalse(_is_origin, origins))
        yield from self._of_sinks()

    def _of_sinks(self) -> Iterator[str]:
        try:
            self.sink_sections()
        except InvalidInput as error:
            yield from (f"{variable('sinks')}: {mistake}" for mistake in str(error).splitlines())

    def sink_sections(self) -> dict[str, Section]:
        """By name the sinks of the file; none without one. Raises InvalidInput."""
        return {} if self.sinks is None else read_sinks(self.sinks)
