"""Runs ingest as a process."""

import os

from driftline.collector import uncollected

with uncollected():
    from driftline.service.ports import open_bus, open_store
    from driftline.service.run import run
    from driftline.tracing.environment import open_tracing
    from driftline_ingest.app import create_app
    from driftline_ingest.settings import IngestSettings

if __name__ == "__main__":
    run(
        "ingest",
        IngestSettings,
        lambda settings, streams: create_app(
            settings,
            open_bus(settings),
            open_store(settings),
            streams=streams,
            topics=settings.topics(),
            tracing=open_tracing("ingest", os.environ),
        ),
    )
