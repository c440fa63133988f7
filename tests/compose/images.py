"""Builds what the compose files run: our images, and stand-ins for the official ones that can't be pulled.

The edge's images are built for arm64, too, where the machine can run what is made for it.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import stamina

from driftline_cli import broker
from tests.compose.debian import install, mirror, unpack_from_next_release
from tests.conftest import ROOT

EXTRAS = {
    "ingest": "[tables]",
    "inference": "[litert]",
    "combiner": "[tables]",
    "trainer": "[tables,litert]",
    "edge": "[tables,litert]",
}
REGISTRY = "localhost/driftline"
"""What images are named when no registry is set."""
EDGE = ("ingest", "inference", "combiner")
PARTS = {part: f"services/{part}" for part in EDGE} | {"combiner": "services/combiner[postgres]"}
STANDINS = Path(__file__).with_name("standins")
PYTHON = "python:3.13-slim-trixie"
BUILDING = (
    "--variant=minbase",
    "--include=python3.13,python3-pip,python3-venv,ca-certificates,binutils,binutils-aarch64-linux-gnu",
)
EMULATED = (
    "--variant=extract",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    "--include=python3.13,ca-certificates,base-files,base-passwd,bash,coreutils,dash,findutils,grep,libstdc++6,passwd,sed",
)
"""What our images need of their base; to install it properly would mean to run it, by emulation for minutes."""
OFFICIAL = {
    "kafka": "apache/kafka:4.1.0",
    "versitygw": "versity/versitygw:v1.8.0",
    "prometheus": "prom/prometheus:v3.5.0",
    "alertmanager": "prom/alertmanager:v0.28.1",
    "caddy": "caddy:2.10",
}
VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PI = "arm64"


@stamina.retry(on=subprocess.CalledProcessError, attempts=3, timeout=None, wait_initial=5)
def run(*command: str, env: Mapping[str, str] | None = None) -> None:
    """Again when it fails: whatever is fetched on the way may be had a little later."""
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-4000:], file=sys.stderr, flush=True)  # noqa: T201
    done.check_returncode()


def build(tag: str, folder: Path, *options: str) -> None:
    print(f"compose-test: builds {tag}", flush=True)  # noqa: T201
    run("docker", "build", "--quiet", "--network=host", f"--tag={tag}", *options, str(folder))


def there(tag: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", tag], capture_output=True, check=False).returncode == 0


def pulled(tag: str) -> bool:
    return subprocess.run(["docker", "pull", "-q", tag], capture_output=True, check=False, timeout=600).returncode == 0


def stand_in_python(tag: str, architecture: str) -> None:
    install("mmdebstrap", "arch-test")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copytree(STANDINS / "python", folder, dirs_exist_ok=True)
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", folder)
        choice = BUILDING if architecture == HERE else EMULATED
        print(f"compose-test: gathers {tag} from Debian's packages", flush=True)  # noqa: T201
        root = str(folder / "root.tar")
        run("mmdebstrap", "--quiet", f"--arch={architecture}", *choice, "trixie", root, mirror())
        build(tag, folder, f"--platform=linux/{architecture}")


def go(folder: Path) -> Path:
    """The machine's Go, or that of Debian's next release, since this one's is too old."""
    found = shutil.which("go")
    if found:
        return Path(found)
    if not folder.exists():
        unpack_from_next_release(folder, "golang-1.24-go", "golang-1.24-src")
    return folder / "usr" / "lib" / "go-1.24" / "bin" / "go"


def standins(names: list[str]) -> None:
    install("openjdk-17-jre-headless", "maven")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copytree(STANDINS, folder, dirs_exist_ok=True)
        shutil.copytree(broker.jars(), folder / "libs")
        environment = os.environ | {"GOBIN": scratch, "CGO_ENABLED": "0"}
        run(str(go(broker.cache().with_name("go"))), "install", VERSITYGW, env=environment)
        for name in names:
            build(OFFICIAL[name], folder, f"--target={name}")


def named(name: str, *suffix: str) -> str:
    """An image as the compose files name it; suffix: for a Pi, built beside those of this machine."""
    return f"{REGISTRY}/{name}:{'-'.join((version('driftline'), *suffix))}"


def service(name: str, tag: str, *options: str) -> None:
    folders = ("edge", *(PARTS[part] for part in EDGE)) if name == "edge" else (PARTS.get(name, f"services/{name}"),)
    arguments = (
        f"--build-arg=SERVICE={name}",
        f"--build-arg=EXTRAS={EXTRAS[name]}",
        f"--build-arg=PROJECTS={' '.join(folders)}",
    )
    build(tag, ROOT, *arguments, *options)


def ours(base_of_pi: str | None) -> None:
    """base_of_pi: the tag of what images for a Pi are made on, if they are to be made."""
    tasks: list[tuple[str, ...]] = [(name, named(name)) for name in EXTRAS]
    if base_of_pi:
        options = (f"--platform=linux/{PI}", f"--build-arg=BASE={base_of_pi}")
        tasks += [(name, named(name, PI), *options) for name in EDGE]
    # Two at a time: one loads while the other unpacks.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda task: service(*task), tasks))


def of_edge_centric() -> None:
    """What that deployment runs, for this machine. Raises Unfit where foreign images can neither be had nor be made."""
    registry = base()
    # The stand-ins wait for Debian and Go, ours for Python's packages.
    with ThreadPoolExecutor(1) as beside:
        made = beside.submit(official, [name for name in OFFICIAL if name != "caddy"], registry=registry)
        ours(None)
        made.result()


def base() -> bool:
    """Gets or makes what our images are made on; returns whether an image registry can be reached."""
    registry = pulled(PYTHON)
    if not there(PYTHON):
        stand_in_python(PYTHON, HERE)
    return registry


def official(names: Iterable[str], *, registry: bool) -> None:
    """Gets these images, or makes stand-ins for them."""
    absent = [name for name in names if not there(OFFICIAL[name]) and not (registry and pulled(OFFICIAL[name]))]
    if absent:
        standins(absent)


def everything(*, emulating: bool) -> None:
    """Raises Unfit where foreign images can neither be pulled nor be made."""
    registry = base()
    base_of_pi = None
    if emulating and HERE != PI:
        base_of_pi = PYTHON if registry else f"{PYTHON}-{PI}"
        if not registry and not there(base_of_pi):
            stand_in_python(base_of_pi, PI)
    ours(base_of_pi)
    official(OFFICIAL, registry=registry)
