"""Settings of the trainer."""

from pathlib import Path

from pydantic import Field, SecretStr

from driftline.settings import Settings
from driftline.signing import Signer, read


class TrainerSettings(Settings):
    """What a job may read and how many are remembered, beside what all services share."""

    port: int = 8004
    data_dir: Path = Path("data")
    """Folder of history files that a job may name."""
    signing_key: SecretStr | None = None
    """Ed25519 private key in PEM that signs what is published."""
    signing_key_file: Path | None = None
    """The same, in a file."""
    versions_kept: int = Field(10, ge=2)
    """Versions of each model that stay in the store, beside those that are in use or pinned somewhere."""
    jobs_remembered: int = Field(200, ge=1)

    def signer(self) -> Signer | None:
        """Raises InvalidInput for what is no key."""
        if self.signing_key is not None:
            return Signer(self.signing_key.get_secret_value())
        return Signer(read(self.signing_key_file)) if self.signing_key_file is not None else None
