"""Settings of the combiner."""

from pydantic import Field

from driftline.settings import Settings


class CombinerSettings(Settings):
    """The environment's DRIFTLINE_… variables that all services share."""

    port: int = 8003
    page_points: int = Field(1000, ge=0, le=10_000)
    """Blends of each series that the dashboard begins with, kept in memory; 0 does without the dashboard."""
    page_services: dict[str, str] = Field(default_factory=dict)
    """By name the URLs of the services whose health and models the dashboard shows, as JSON."""
    metrics_by_key: bool = False
    """Whether errors and weights of every series are told to Prometheus, too; for some dozens of them."""
    trainer: str | None = Field(None, pattern="^https?://")
    """The trainer's URL, which is asked for a new speed model on drift and on negative skill; with `token`, if there is
    one."""
