"""Settings of ingest."""

from pydantic import Field

from driftline.settings import Settings


class IngestSettings(Settings):
    """What the door takes at once, beside what all services share."""

    port: int = 8001
    body_limit: int = Field(8 * 1024 * 1024, ge=1)
    """Bytes of one request at most."""
    refusals_listed: int = Field(100, ge=0)
    """Refused rows that an answer lists at most; it counts them all."""
