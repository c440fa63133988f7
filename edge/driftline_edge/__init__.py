"""Ingest, inference and combiner in one process and on one event loop, each behind its own port."""
