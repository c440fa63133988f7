"""Where blends and alerts go beyond the bus: a sink is the other side, a job delivers to it with patience."""
