"""Real servers of line protocol on a port of this machine: InfluxDB 1 from Debian, and QuestDB from Maven."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import stamina

from driftline.errors import Unavailable
from driftline_cli.broker import free_ports

POM = Path(__file__).with_name("questdb-pom.xml")
JAR = "questdb-9.0.3.jar"
INFLUX = """\
reporting-disabled = true
bind-address = "127.0.0.1:{inner}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
max-values-per-tag = 40
[http]
bind-address = "127.0.0.1:{port}"
max-body-size = 6000
auth-enabled = {auth}
log-enabled = false
[monitor]
store-enabled = false
"""
QUESTDB = """\
http.bind.to=127.0.0.1:{port}
http.min.enabled=false
pg.enabled=false
line.tcp.enabled=false
telemetry.enabled=false
shared.worker.count=1
"""


class LineServer:
    """Its data are in `folder`, so that it has them again after it was killed."""

    def __init__(self, folder: Path, command: list[str], port: int) -> None:
        self._folder = folder
        self._command = command
        self.url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "LineServer":
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self._folder)
        self._answers()
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @stamina.retry(on=httpx.HTTPError, attempts=None, timeout=120, wait_initial=0.1, wait_max=0.3)
    def _answers(self) -> None:
        httpx.get(f"{self.url}/ping").raise_for_status()

    def influx(self, query: str, database: str = "", **auth: Any) -> list[list[Any]]:
        """The rows of InfluxQL, times in milliseconds."""
        params = {"db": database, "q": query, "epoch": "ms"}
        (result,) = httpx.post(f"{self.url}/query", params=params, **auth).raise_for_status().json()["results"]
        assert "error" not in result, result
        return [row for series in result.get("series", []) for row in series["values"]]

    def write(self, database: str, body: str) -> None:
        httpx.post(f"{self.url}/write", params={"db": database}, content=body).raise_for_status()

    def questdb(self, query: str) -> list[list[Any]]:
        """The rows of SQL."""
        answer = httpx.get(f"{self.url}/exec", params={"query": query})
        assert answer.is_success, answer.text
        return answer.json().get("dataset", [])


def influxdb(folder: Path, *, auth: bool = False) -> LineServer:
    """Takes bodies up to 6,000 bytes and 40 keys. Raises Unavailable."""
    program = shutil.which("influxd")
    if program is None:
        raise Unavailable("InfluxDB is not here: install Debian's package influxdb")
    port, inner = free_ports(2)
    config = folder / "influxdb.conf"
    config.write_text(INFLUX.format(folder=folder, port=port, inner=inner, auth=str(auth).lower()))
    return LineServer(folder, [program, "-config", str(config)], port)


def questdb(folder: Path) -> LineServer:
    """Raises Unavailable."""
    (port,) = free_ports(1)
    (folder / "conf").mkdir()
    (folder / "conf" / "server.conf").write_text(QUESTDB.format(port=port))
    java = ("java", "-Xmx200m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-p", str(_jar()))
    return LineServer(folder, [*java, "-m", "io.questdb/io.questdb.ServerMain", "-d", str(folder)], port)


def _jar() -> Path:
    """Fetched once for all checkouts. Raises Unavailable."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline" / "questdb"
    if (cache / JAR).exists():
        return cache / JAR
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise Unavailable(f"QuestDB needs {tool}, which is not here: install Java 17 and Maven")
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={cache}"]
    maven = subprocess.run(command, capture_output=True, text=True, check=False)
    if maven.returncode:
        raise Unavailable(f"Maven could not fetch QuestDB: {maven.stdout[-200:]}")
    return cache / JAR
