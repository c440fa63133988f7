"""Runs the trainer as a process."""

from driftline.ports import open_store
from driftline.run import run
from driftline_trainer.app import create_app
from driftline_trainer.settings import TrainerSettings

if __name__ == "__main__":
    run(
        "trainer",
        TrainerSettings,
        lambda settings, streams: create_app(settings, open_store(settings), streams=streams),
    )
