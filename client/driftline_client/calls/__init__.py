"""What can be asked of the services, by subject: functions that make calls, and the types of their answers."""

from driftline_client.calls import fleet, forecasts, models, records, rollouts, scores, training

__all__ = ["fleet", "forecasts", "models", "records", "rollouts", "scores", "training"]
