"""Settings of the combiner."""

from pydantic import Field

from driftline.settings import Settings


class CombinerSettings(Settings):
    """The environment's DRIFTLINE_… variables that all services share."""

    port: int = 8003
    metrics_by_key: bool = False
    """Whether errors and weights of every series are told to Prometheus, too; for some dozens of them."""
    trainer: str | None = Field(None, pattern="^https?://")
    """The trainer's URL, which is asked for a new speed model on drift and on negative skill; with `token`, if there is
    one."""
