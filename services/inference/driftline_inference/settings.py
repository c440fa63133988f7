"""Settings of inference."""

from driftline.settings import Settings


class InferenceSettings(Settings):
    """Nothing of its own yet: the environment's DRIFTLINE_… variables that all services share."""

    port: int = 8002
