"""The message bus: its port, and the two that implement it."""
