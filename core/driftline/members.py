"""The members: all that may forecast, in one fixed order, so that arrays over members mean the same everywhere."""

PERSISTENCE = "persistence"
SEASONAL = "seasonal"
"""What was at the same time of the day before."""
WEEKLY = "weekly"
"""What was at the same time of the week before."""
RLS = "rls"
"""A linear filter that learns with every record."""
STACK = "stack"
"""The same with the models' forecasts among its inputs; it begins as their mean, and is `rls` while there is none."""
BUILT_IN = (PERSISTENCE, SEASONAL, WEEKLY, RLS, STACK)
"""Computed on the edge, without training."""
MODELS = ("batch", "speed")
"""TensorFlow Lite models from the store."""
TRAINED = (STACK, *MODELS)
"""Those that know what the models have learned from history."""
MEMBERS = (*BUILT_IN, *MODELS)
