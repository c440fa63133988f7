"""Forecasts every record with all members, micro-batched, and swaps models while the stream runs."""
