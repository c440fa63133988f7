"""The members: all that may forecast, in one fixed order, so that arrays over members mean the same everywhere."""

PERSISTENCE = "persistence"
BUILT_IN = (PERSISTENCE, "rls")
"""Computed on the edge, without training."""
MODELS = ("batch", "speed")
"""TensorFlow Lite models from the store."""
MEMBERS = (*BUILT_IN, *MODELS)
