"""Settings of inference."""

import socket
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, field_validator

from driftline.errors import InvalidInput
from driftline.fleet.sealing import FleetKey
from driftline.names import PORTS
from driftline.service.model_settings import TrustSettings
from driftline.service.setting_checks import variable
from driftline.service.settings import Port
from driftline.store.folder import FolderStore
from driftline_inference.registry.cache import Cache
from driftline_inference.registry.versions import Fetcher


class InferenceSettings(TrustSettings):
    """Whose models are believed, beside what all services share."""

    port: Port = PORTS["inference"]
    edge: str = Field(default_factory=socket.gethostname, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """A name of this edge for people; its id, made at the first start, identifies it."""
    cache: Path | None = Path("cache")
    """Folder of the last good versions, served after a restart while the store is unavailable; empty for none."""

    keep_every: float = Field(3600.0, ge=60)
    """Seconds between two times that the states that have changed are left in the store, for a device that replaces
    this one."""

    @field_validator("cache", mode="before")
    @classmethod
    def _none_when_empty(cls, value: object) -> object:
        return None if value == "" else value

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        try:
            self.fleet_key()
        except InvalidInput as error:
            yield f"{variable('fleet_key_file')}: {error}"

    def fleet_key(self) -> FleetKey | None:
        """Raises InvalidInput."""
        return FleetKey.read(self.fleet_key_file) if self.fleet_key_file is not None else None

    def open_cache(self) -> Cache | None:
        return Cache(FolderStore(self.cache)) if self.cache is not None else None

    def fetcher(self) -> Fetcher:
        """Raises InvalidInput."""
        return Fetcher(self.trust(), self.model_limit)
