"""Versions of models as they lie in the store: read, verified, published, imported."""
