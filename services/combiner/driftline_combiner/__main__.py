"""Runs combiner as a process."""

import os

from driftline.service.ports import open_bus
from driftline.service.run import run
from driftline.tracing.environment import open_tracing
from driftline_combiner.app import create_app
from driftline_combiner.settings import CombinerSettings

if __name__ == "__main__":
    run(
        "combiner",
        CombinerSettings,
        lambda settings, streams: create_app(
            settings, open_bus(settings), streams=streams, tracing=open_tracing("combiner", os.environ)
        ),
    )
