"""Runs the trainer as a process."""

from collections.abc import Mapping

from driftline.collector import uncollected

with uncollected():
    from fastapi import FastAPI

    from driftline.service.ports import open_bus, open_store
    from driftline.service.run import run
    from driftline.streams.definition import StreamDefinition
    from driftline_trainer.app import create_app
    from driftline_trainer.settings import TrainerSettings


def build(settings: TrainerSettings, streams: Mapping[str, StreamDefinition]) -> FastAPI:
    # The trainer needs no broker, unless that is what brings the store's events.
    events = open_bus(settings) if settings.store_topic else None
    return create_app(settings, open_store(settings), streams=streams, events=events)


if __name__ == "__main__":
    run("trainer", TrainerSettings, build)
