"""A real S3 server of this machine, with event queues."""

from pathlib import Path

from driftline_cli import broker, objects, processes


class S3Server:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = broker.free_port()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        objects.start(self.folder, self.port)

    def stop(self) -> None:
        processes.stop(self.folder, "s3")
