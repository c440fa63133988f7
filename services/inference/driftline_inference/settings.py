"""Settings of inference."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from driftline.errors import InvalidInput
from driftline.fleet.keys import decoded
from driftline.fleet.labels import parse_labels
from driftline.fleet.sealing import FleetKey
from driftline.names import PORTS
from driftline.service.model_settings import TrustSettings
from driftline.service.setting_checks import variable
from driftline.service.settings import Port
from driftline.store.folder import FolderStore
from driftline_inference.heartbeats.machine import DeviceKey
from driftline_inference.registry.cache import Cache
from driftline_inference.registry.versions import Fetcher


def _labelled(value: object) -> object:
    """Raises ValueError."""
    return parse_labels(value) if isinstance(value, str) else value


class InferenceSettings(TrustSettings):
    """Whose models are believed, beside what all services share."""

    port: Port = PORTS["inference"]
    edge: str = Field(default_factory=socket.gethostname, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """A name of this edge for people; its id, made at the first start, identifies it."""
    labels: Annotated[dict[str, str], NoDecode, BeforeValidator(_labelled)] = Field(default_factory=dict)
    """How people sort their edges, as `site=north,roof=flat`: names and values of letters, digits, dots, dashes and
    underscores."""
    heartbeat_every: float = Field(60.0, ge=1)
    """Seconds between two heartbeats in the store."""
    device_key_file: Path | None = None
    """Ed25519 private key of this edge in PEM, which signs its heartbeats from when the file is there."""
    cache: Path | None = Path("cache")
    """Folder of the last good versions, served after a restart while the store is unavailable; empty for none."""

    fleet_key: SecretStr | None = None
    """The fleet's key, 32 bytes in base64, where no file is named."""
    keep_every: float = Field(3600.0, ge=60)
    """Seconds between two times that the states that have changed are left in the store, for a device that replaces
    this one."""

    @field_validator("cache", mode="before")
    @classmethod
    def _none_when_empty(cls, value: object) -> object:
        return None if value == "" else value

    def device_key(self) -> DeviceKey:
        """Raises InvalidInput for a file that holds no key."""
        key = DeviceKey(self.device_key_file)
        key.examine()
        return key

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        try:
            self.sealing_key()
        except InvalidInput as error:
            yield f"{variable('fleet_key' if self.fleet_key_file is None else 'fleet_key_file')}: {error}"

    def sealing_key(self) -> FleetKey | None:
        """Seals what this edge has learned; the file counts for more, since it is what joining has brought. Raises
        InvalidInput."""
        if self.fleet_key_file is not None:
            return FleetKey.read(self.fleet_key_file)
        return FleetKey(decoded(self.fleet_key.get_secret_value())) if self.fleet_key is not None else None

    def open_cache(self) -> Cache | None:
        return Cache(FolderStore(self.cache)) if self.cache is not None else None

    def fetcher(self) -> Fetcher:
        """Raises InvalidInput."""
        return Fetcher(self.trust(), self.model_limit)
