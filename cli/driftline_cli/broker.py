"""A real one-node Apache Kafka on this machine, without Docker: its jars from Maven Central, run by Java."""

import base64
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import stamina

from driftline.errors import Unavailable
from driftline_cli import processes

VERSION = "4.1.0"
POM = Path(__file__).with_name("kafka-pom.xml")
JAVA = ("-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
CONFIG = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.retention.check.interval.ms=30000
"""


def cache() -> Path:
    """Where the jars are kept, once for all checkouts."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "driftline" / f"kafka-{VERSION}"


def jars() -> Path:
    """The folder of the broker's jars, fetched when they are not there. Raises Unavailable with the reason."""
    lib = cache() / "lib"
    done = cache() / "complete"
    if done.exists():
        return lib
    for tool, remedy in (("java", "install Java 17"), ("mvn", "install Maven, which fetches its jars")):
        if shutil.which(tool) is None:
            raise Unavailable(f"a local Kafka needs {tool}, which is not here: {remedy}")
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={lib}"]
    maven = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if maven.returncode:
        last = (maven.stdout.strip() or maven.stderr.strip()).splitlines()[-1:]
        raise Unavailable(f"Maven could not fetch Kafka's jars; is Maven Central reachable? {' '.join(last)}")
    done.touch()
    return lib


def free_port() -> int:
    """A port that nobody has now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many different ones."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def start(folder: Path, port: int, *, more: str = "", formatted: Sequence[str] = ()) -> int:
    """Starts the broker on 127.0.0.1:`port` with its data in `folder`, and returns its process id when it answers.

    more: lines that are put behind its configuration and win over it. formatted: further arguments of the storage's
    formatting, such as a user's password.
    """
    if shutil.which("java") is None:
        raise Unavailable("a local Kafka needs java, which is not here: install Java 17")
    lib = jars()
    folder.mkdir(parents=True, exist_ok=True)
    java = ["java", *JAVA, "-cp", f"{lib}/*"]
    config = folder / "server.properties"
    config.write_text(CONFIG.format(port=port, controller=free_port(), data=folder.absolute() / "data") + more)
    if not (folder / "data" / "meta.properties").exists():
        # An id that begins with a dash would be taken for an option; one that begins with these bits never does.
        first, *rest = uuid.uuid4().bytes
        cluster = base64.urlsafe_b64encode(bytes([first & 0x7F, *rest])).decode().rstrip("=")
        format_ = [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config), *formatted]
        subprocess.run(format_, check=True, capture_output=True)  # noqa: S603
    pid = processes.start(folder, "kafka", [*java, "kafka.Kafka", str(config)])
    _answers(port)
    return pid


@stamina.retry(on=OSError, attempts=None, timeout=180, wait_initial=0.1, wait_max=0.5, wait_jitter=0.1)
def _answers(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
