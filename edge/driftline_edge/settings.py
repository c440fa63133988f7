"""Settings of the edge as a process: its bus and its folder, and those of each service in it."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from driftline.bus.embedded import EmbeddedSettings
from driftline.errors import InvalidInput
from driftline.fleet.device import Device, Joined
from driftline.names import EDGE_SERVICES
from driftline.service.setting_checks import line, variable
from driftline.service.settings import Settings, read_settings
from driftline_combiner.settings import CombinerSettings
from driftline_inference.settings import InferenceSettings
from driftline_ingest.settings import IngestSettings

S = TypeVar("S", bound=Settings)

JOINED_POLL_S = 1800.0
"""Seconds between looks at the store behind the cloud's door, which says at once what has changed."""

OF_BROKERS = ("brokers", "replication", "session_timeout")
"""Settings that only Kafka has a use for."""


class EdgeSettings(Settings):
    """Which bus carries the messages, and what it may keep, beside what all services share."""

    bus: Literal["embedded", "kafka"] = "embedded"
    """`embedded`: in this process, kept in `data`, without a broker."""
    data: Path = Path(".run/edge")
    """Folder of all that the edge keeps: the embedded bus, and unless they are elsewhere the store and the cache."""
    disk: int = Field(EmbeddedSettings.retention_bytes, ge=1_000_000)
    """Bytes that the bus may take in all."""
    retention_hours: float = Field(168.0, gt=0)
    """Hours after which messages go from the embedded bus, once no worker needs them."""
    sync_every: float = Field(0.0, ge=0, le=1)
    """Seconds between two syncs of the embedded bus at least: more of them write less, and answer later."""

    @property
    def embedded(self) -> EmbeddedSettings:
        """How the embedded bus is kept."""
        return EmbeddedSettings(
            self.data / "bus",
            partitions=self.partitions,
            retention_bytes=self.disk,
            retention_hours=self.retention_hours,
            sync_every=self.sync_every,
        )

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        if "port" in self.model_fields_set:
            own = ", ".join(variable(f"{service}_port") for service in EDGE_SERVICES)
            yield line("port", self.port, f"none, since there are three ports here: {own}")
        if self.bus == "embedded" and self.store_topic is not None:
            yield line("store_topic", self.store_topic, f"none, since {variable('bus')} is 'embedded'")

    def doubts(self) -> Iterator[str]:
        yield from super().doubts()
        if self.bus == "embedded":
            for name in sorted(self.model_fields_set.intersection(OF_BROKERS)):
                yield f"{variable(name)} is passed over, since {variable('bus')} is 'embedded'"


@dataclass(frozen=True)
class AllSettings:
    """What is given by one environment to the process and to the services in it."""

    edge: EdgeSettings
    ingest: IngestSettings
    inference: InferenceSettings
    combiner: CombinerSettings
    joined: Joined | None = None
    """The fleet that this device is one of."""

    @property
    def device(self) -> Device:
        """What it keeps of that."""
        return Device(self.edge.data)

    def doubts(self) -> Iterator[str]:
        """What may be a mistake, a line each."""
        every = (self.edge, self.ingest, self.inference, self.combiner)
        yield from dict.fromkeys(doubt for settings in every for doubt in settings.doubts())


def read_all() -> AllSettings:
    """Raises InvalidInput: a line a mistake, also where several services have the setting."""
    mistakes: dict[str, None] = {}
    device = Device(Path(os.environ.get(variable("data")) or EdgeSettings.model_fields["data"].default))
    joined = device.joined()
    of_fleet = _of_fleet(device, joined) if joined is not None else {}

    def read(kind: type[S], service: str | None = None) -> S | None:
        try:
            given = {name: value for name, value in of_fleet.items() if name in kind.model_fields}
            return read_settings(kind, service, **given)
        except InvalidInput as error:
            mistakes.update(dict.fromkeys(str(error).splitlines()))
            return None

    edge = read(EdgeSettings)
    ingest, inference = read(IngestSettings, "ingest"), read(InferenceSettings, "inference")
    combiner = read(CombinerSettings, "combiner")
    if edge is None or ingest is None or inference is None or combiner is None:
        raise InvalidInput("\n".join(mistakes))
    return AllSettings(
        edge,
        _kept_in(edge, ingest),
        _kept_in(edge, _at_once(edge, inference)),
        _kept_in(edge, _at_once(edge, combiner)),
        joined,
    )


def _of_fleet(device: Device, joined: Joined) -> Mapping[str, object]:
    """The settings of a device that has joined, as far as the environment says nothing else."""
    settings: dict[str, object] = {"edge": joined.name, "edge_id": joined.edge, "cloud_streams": device.definitions}
    settings |= {"labels": joined.labels, "device_key_file": device.key_file}
    if device.fleet_key_file.exists():
        settings["fleet_key_file"] = device.fleet_key_file
    if not _is_set("trusted_keys", "trusted_keys_file"):
        settings["trusted_keys_file"] = device.trusted_keys_file
    if not _is_set("store") or os.environ[variable("store")] == joined.url:
        settings |= {"store": joined.url, "store_poll": JOINED_POLL_S, "trainer": joined.url}
        if not _is_set("store_token", "store_token_file"):
            settings["store_token_file"] = device.credential_file
        if device.ca_file is not None:
            settings["store_ca_file"] = device.ca_file
    return {name: value for name, value in settings.items() if not _is_set(name)}


def _is_set(*names: str) -> bool:
    return any(os.environ.get(variable(name)) for name in names)


def _kept_in(edge: EdgeSettings, settings: S) -> S:
    """With store, cache and spool in the edge's folder, unless they are said to be elsewhere."""
    folders = {"cache": lambda: edge.data / "cache", "spool": lambda: edge.data / "spool"}
    return _unless_set(settings, store=lambda: str(edge.data / "store"), **folders)


def _at_once(edge: EdgeSettings, settings: S) -> S:
    """On the embedded bus whatever is read at once is one commit, with its outputs and its position: that costs no more
    than outputs alone, and so a crash repeats nothing."""
    if edge.bus != "embedded":
        return settings
    return _unless_set(settings, delivery=lambda: "exactly_once", exactly_once_every=lambda: 0.0)


def _unless_set(settings: S, **otherwise: Callable[[], object]) -> S:
    fields = type(settings).model_fields
    missing = (name for name in otherwise if name in fields and name not in settings.model_fields_set)
    return settings.model_copy(update={name: otherwise[name]() for name in missing})
