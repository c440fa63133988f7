"""The driftline command."""
