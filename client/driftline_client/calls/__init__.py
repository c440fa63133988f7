"""What can be asked of the services, by subject: functions that make calls, and the types of their answers."""

from driftline_client.calls import (
    devices,
    fleet,
    forecasts,
    health,
    history,
    models,
    records,
    rollouts,
    scores,
    training,
)

__all__ = [
    "devices",
    "fleet",
    "forecasts",
    "health",
    "history",
    "models",
    "records",
    "rollouts",
    "scores",
    "training",
]
