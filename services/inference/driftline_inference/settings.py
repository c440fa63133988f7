"""Settings of inference."""

import socket
from pathlib import Path

from pydantic import Field, field_validator

from driftline.names import PORTS
from driftline.service.model_settings import TrustSettings
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

    @field_validator("cache", mode="before")
    @classmethod
    def _none_when_empty(cls, value: object) -> object:
        return None if value == "" else value

    def open_cache(self) -> Cache | None:
        return Cache(FolderStore(self.cache)) if self.cache is not None else None

    def fetcher(self) -> Fetcher:
        """Raises InvalidInput."""
        return Fetcher(self.trust(), self.model_limit)
