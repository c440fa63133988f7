"""Runs inference as a process."""

import os

from driftline.collector import uncollected

with uncollected():
    from driftline.service.ports import open_bus, open_store
    from driftline.service.run import run
    from driftline.store.threaded import ThreadedStore
    from driftline.tracing.environment import open_tracing
    from driftline_inference.app import create_app
    from driftline_inference.settings import InferenceSettings

if __name__ == "__main__":
    run(
        "inference",
        InferenceSettings,
        lambda settings, streams: create_app(
            settings,
            open_bus(settings),
            ThreadedStore(open_store(settings)),
            streams=streams,
            tracing=open_tracing("inference", os.environ),
        ),
    )
