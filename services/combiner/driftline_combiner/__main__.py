"""Runs combiner as a process."""

import os

from driftline.collector import uncollected

with uncollected():
    from driftline.service.ports import open_bus, open_store
    from driftline.service.run import run
    from driftline.store.threaded import ThreadedStore
    from driftline.tracing.environment import open_tracing
    from driftline_combiner.app import create_app
    from driftline_combiner.settings import CombinerSettings

if __name__ == "__main__":
    run(
        "combiner",
        CombinerSettings,
        lambda settings, streams: create_app(
            settings,
            open_bus(settings),
            streams=streams,
            store=ThreadedStore(open_store(settings)),
            tracing=open_tracing("combiner", os.environ),
        ),
    )
