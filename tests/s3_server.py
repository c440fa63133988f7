"""A real S3 server of this machine, with event queues; by HTTPS where it is given a certificate and its key."""

from pathlib import Path

from driftline_cli import broker, objects, processes


class S3Server:
    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        self.folder = folder
        self.port = broker.free_port()
        self._tls = tls

    @property
    def scheme(self) -> str:
        return "https" if self._tls else "http"

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        objects.start(self.folder, self.port, self._tls)

    def stop(self) -> None:
        processes.stop(self.folder, "s3")
