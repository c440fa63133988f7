"""The container engine that the deployments run on: the machine's own, or one that is started for the test.

The latter is Debian's dockerd with everything it keeps in a folder of ours, so that the machine's network, ports and
images are left alone. It runs in two ways, one after the other, on the same images: `building`, in the machine's
network but without one for containers, and `running`, in a network namespace that is gone with it.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import stamina

from tests.compose.debian import install, unpack_from_next_release
from tests.compose.emulation import emulation
from tests.compose.unfit import Unfit

PACKAGES = (
    "docker.io",
    "iptables",
    "iproute2",
    "mmdebstrap",
    "curl",
)
NEEDED_BYTES = 15 * 2**30
ENDS_WITHIN, ANSWERS_WITHIN = 60, 60


def answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=60).returncode == 0


class Found:
    """The engine that the machine has."""

    def __init__(self) -> None:
        if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
            raise Unfit("the engine here has no docker compose, expected its plugin of version 2")

    @contextmanager
    def emulating(self) -> Iterator[bool]:
        """Gives whether images for arm64 can be made and run."""
        about = subprocess.run(["docker", "buildx", "inspect"], capture_output=True, text=True, check=False).stdout
        yield "linux/arm64" in about

    @contextmanager
    def building(self) -> Iterator[None]:
        yield

    @contextmanager
    def running(self) -> Iterator[list[str]]:
        yield []


def fit() -> None:
    """Raises Unfit where no engine can be started."""
    if os.geteuid() != 0:
        raise Unfit("found no engine, and only root can start one")
    if not Path("/etc/debian_version").exists():
        raise Unfit("found no engine, and one can be started on Debian only")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        raise Unfit("found no engine, and one can't be started where network namespaces are forbidden")


class Started:
    """Debian's engine, ours for the time of the test. Raises Unfit where the machine does not allow that."""

    def __init__(self, home: Path) -> None:
        self._home = home
        fit()
        home.mkdir(parents=True, exist_ok=True)
        self._lock = (home / "lock").open("w")
        # Another checkout may be testing with it.
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._room()
        install(*PACKAGES)
        self._plugins()
        # Debian 12's own client takes the former way of building where it isn't told otherwise.
        client = {"DOCKER_CONFIG": str(home / "client"), "DOCKER_BUILDKIT": "1"}
        os.environ |= {"DOCKER_HOST": f"unix://{home}/docker.sock"} | client
        self._end_former()

    def _room(self) -> None:
        free = shutil.disk_usage(self._home).free
        if free < NEEDED_BYTES and not (self._home / "data").exists():
            raise Unfit(f"found {free >> 30} GB free in {self._home}, expected {NEEDED_BYTES >> 30} for the images")

    def _plugins(self) -> None:
        """docker compose 2 and buildx: Debian 12 has neither, the next one both, and they need nothing else."""
        folder = self._home / "plugins"
        if not (folder / "usr").exists():
            unpack_from_next_release(folder, "docker-compose", "docker-buildx")
        client = self._home / "client"
        client.mkdir(exist_ok=True)
        plugins = str(folder / "usr" / "libexec" / "docker" / "cli-plugins")
        (client / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [plugins]}))

    def _end_former(self) -> None:
        """What a test that was killed left running."""
        try:
            pid = int((self._home / "pid").read_text())
            if "dockerd" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGTERM)
                gone(pid)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return

    @contextmanager
    def emulating(self) -> Iterator[bool]:
        """Gives whether images for arm64 can be made and run. Around the others: an engine asks as it starts."""
        with emulation(self._home) as possible:
            yield possible

    @contextmanager
    def building(self) -> Iterator[None]:
        with self._dockerd([], "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"):
            yield
            # What no image needs any more; of the steps that were kept, what was used last.
            for forgotten in (("image", "prune", "--force"), ("builder", "prune", "--force", "--keep-storage=15GB")):
                subprocess.run(["docker", *forgotten], capture_output=True, check=False)

    @contextmanager
    def running(self) -> Iterator[list[str]]:
        """Gives what to put before a command that is to reach the published ports."""
        # Not `ip netns exec`, which would hide the control groups.
        apart = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "dockerd"]
        with self._dockerd(apart) as pid:
            self._forget_former_containers()
            yield ["nsenter", f"--target={pid}", "--net"]

    @contextmanager
    def _dockerd(self, apart: list[str], *options: str) -> Iterator[int]:
        home = self._home
        places = [f"--data-root={home}/data", f"--exec-root={home}/exec", f"--pidfile={home}/pid"]
        with (home / "dockerd.log").open("w") as log:
            process = subprocess.Popen(
                [*apart, "dockerd", *places, f"--host=unix://{home}/docker.sock", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._await(process)
            yield process.pid
        finally:
            process.terminate()
            process.wait(ENDS_WITHIN)

    def _await(self, process: "subprocess.Popen[bytes]") -> None:
        for attempt in stamina.retry_context(on=ConnectionError, attempts=None, timeout=ANSWERS_WITHIN, wait_max=0.5):
            with attempt:
                if process.poll() is not None:
                    last = (self._home / "dockerd.log").read_text().strip().splitlines()[-1:]
                    raise Unfit(f"dockerd can't run here: {' '.join(last)}")
                if not answers():
                    raise ConnectionError

    def _forget_former_containers(self) -> None:
        """And their volumes: every test begins with nothing."""
        for kind, listing, removal in (
            ("containers", ("ps", "--all", "--quiet"), ("rm", "--force")),
            ("volumes", ("volume", "ls", "--quiet"), ("volume", "rm")),
        ):
            found = subprocess.run(["docker", *listing], capture_output=True, text=True, check=True).stdout.split()
            if found:
                print(f"compose-test: removes {len(found)} {kind} that a former run left", flush=True)  # noqa: T201
                subprocess.run(["docker", *removal, *found], capture_output=True, check=True)
        subprocess.run(["docker", "network", "prune", "--force"], capture_output=True, check=True)


@stamina.retry(on=TimeoutError, attempts=None, timeout=ENDS_WITHIN, wait_initial=0.2, wait_max=0.5)
def gone(pid: int) -> None:
    if Path(f"/proc/{pid}").exists():
        raise TimeoutError


def engine() -> Found | Started:
    """Raises Unfit."""
    if answers():
        return Found()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Started(Path(os.environ.get("ENGINE_HOME") or cache / "driftline" / "engine"))
