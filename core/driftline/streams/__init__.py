"""Streams: their definitions, and what is computed from records."""
