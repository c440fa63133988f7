"""Settings of the combiner."""

from driftline.settings import Settings


class CombinerSettings(Settings):
    """The environment's DRIFTLINE_… variables that all services share."""

    port: int = 8003
