"""Runs inference as a process."""

from driftline.aside import Aside
from driftline.ports import open_bus, open_store
from driftline.run import run
from driftline_inference.app import create_app
from driftline_inference.settings import InferenceSettings

if __name__ == "__main__":
    run(
        "inference",
        InferenceSettings,
        lambda settings, streams: create_app(
            settings, open_bus(settings), Aside(open_store(settings)), streams=streams
        ),
    )
