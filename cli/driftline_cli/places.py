"""Where the command keeps things."""

from pathlib import Path

RUN = Path(".run")
"""Where `driftline up` puts everything, unless it is told otherwise."""
