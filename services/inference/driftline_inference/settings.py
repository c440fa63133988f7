"""Settings of inference."""

import socket
from pathlib import Path

from pydantic import Field, field_validator

from driftline.models.signing import Trust, read
from driftline.service.settings import Port, Settings
from driftline.store.folder import FolderStore
from driftline.store.version_files import MODEL_LIMIT
from driftline_inference.registry.cache import Cache
from driftline_inference.registry.versions import Fetcher


class InferenceSettings(Settings):
    """Whose models are believed, beside what all services share."""

    port: Port = 8002
    trusted_keys: str = ""
    """Ed25519 public keys in base64, with commas between: a model must be signed by one of them."""
    trusted_keys_file: Path | None = None
    """The same, one a line."""
    allow_unsigned: bool = False
    """Whether models without a signature may serve, too."""
    model_limit: int = Field(MODEL_LIMIT, ge=1)
    """Bytes of a model at most."""
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

    def trust(self) -> Trust:
        """Raises InvalidInput for what is no key."""
        keys = [key.strip() for key in self.trusted_keys.split(",")]
        if self.trusted_keys_file is not None:
            keys += read(self.trusted_keys_file).split()
        return Trust(filter(None, keys), unsigned=self.allow_unsigned)

    def fetcher(self) -> Fetcher:
        """Raises InvalidInput."""
        return Fetcher(self.trust(), self.model_limit)
