"""Settings of the trainer."""

from pathlib import Path

from pydantic import Field

from driftline.settings import Settings


class TrainerSettings(Settings):
    """What a job may read and how many are remembered, beside what all services share."""

    port: int = 8004
    data_dir: Path = Path("data")
    """Folder of history files that a job may name."""
    jobs_remembered: int = Field(200, ge=1)
