"""Settings of whoever publishes models, and of whoever serves them."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, SecretStr

from driftline.contradictions import line, variable
from driftline.settings import Settings
from driftline.signing import Signer, Trust, read
from driftline.version_files import MODEL_LIMIT


class SigningSettings(Settings):
    """With which key models are signed."""

    signing_key: SecretStr | None = None
    """Ed25519 private key in PEM that signs what is published."""
    signing_key_file: Path | None = None
    """The same, in a file."""

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        if self.signing_key is not None and self.signing_key_file is not None:
            yield line("signing_key_file", str(self.signing_key_file), f"none, since {variable('signing_key')} is set")

    def signer(self) -> Signer | None:
        """Raises InvalidInput for what is no key."""
        if self.signing_key is not None:
            return Signer(self.signing_key.get_secret_value())
        return Signer(read(self.signing_key_file)) if self.signing_key_file is not None else None


class TrustSettings(Settings):
    """Whose models are believed."""

    trusted_keys: str = ""
    """Ed25519 public keys in base64, with commas between: a model must be signed by one of them."""
    trusted_keys_file: Path | None = None
    """The same, one a line."""
    allow_unsigned: bool = False
    """Whether models without a signature may serve, too."""
    model_limit: int = Field(MODEL_LIMIT, ge=1)
    """Bytes of a model at most."""

    def trust(self) -> Trust:
        """Raises InvalidInput for what is no key."""
        keys = [key.strip() for key in self.trusted_keys.split(",")]
        if self.trusted_keys_file is not None:
            keys += read(self.trusted_keys_file).split()
        return Trust(filter(None, keys), unsigned=self.allow_unsigned)
