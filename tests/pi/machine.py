"""A Debian that is not this machine's: a root file system whose own systemd runs as process 1 of its namespaces.

It has a loopback and no other network. Memory and processor limits need the control groups of the machine, which may be
out of reach; all else of a unit is enforced.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import stamina

from tests.compose.debian import install, mirror

RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
"""By Debian's name of it the Python that it has."""
INCLUDED = "python3,systemd"
"""No python3-venv and no pip: a fresh Raspberry Pi OS may lack both."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""By the name that uname has for a machine, Debian's."""
BOOTED_WITHIN = 60
PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
MOUNTED = r"""
set -eu
root=$1; shift
ip link set lo up
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in $DEVICES; do : > "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
cd "$root"
mkdir -p .former
pivot_root . .former
exec chroot . sh -c '
  umount -l /.former
  : > /run/up
  exec env -i container=driftline PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
' sh "$@"
"""
"""Run as a shell's text with the root file system and the first process, inside new namespaces."""
SYSTEMD = ("/lib/systemd/systemd", "--show-status=no")
UNTIL_TERMINATED = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done")
"""For a root file system whose programs are emulated: systemd is not."""


def rootfs(release: str, machine: str) -> Path:
    """A tar of it, kept from one run to the next."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline" / "pi"
    kept = cache / f"{release}-{ARCHITECTURES[machine]}.tar"
    if not kept.exists():
        install("mmdebstrap", "arch-test")
        cache.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part.tar")
        options = ("--variant=minbase", f"--arch={ARCHITECTURES[machine]}", f"--include={INCLUDED}")
        subprocess.run(["mmdebstrap", "--quiet", "--skip=check/qemu", *options, release, part, mirror()], check=True)
        part.rename(kept)
    return kept


class Machine:
    """A root file system at work; commands run in it as its root."""

    def __init__(self, root: Path, pid: int) -> None:
        self.root = root
        self._pid = pid
        self._inside = ["nsenter", f"--target={pid}", "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"]
        self._inside += ["--root", "--wd", "env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8"]

    def run(self, *command: str, check: bool = True, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([*self._inside, *command], capture_output=True, text=True, check=False, timeout=timeout)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Something that goes on."""
        return subprocess.Popen([*self._inside, *command], stdin=subprocess.DEVNULL)

    def serve(self, *command: str) -> "subprocess.Popen[str]":
        """A program of the machine around it that only this one reaches: its network is this one's."""
        return subprocess.Popen(
            ["nsenter", f"--target={self._pid}", "--net", *command], stdout=subprocess.PIPE, text=True
        )

    def path(self, path: str) -> Path:
        """Where this machine finds it."""
        return self.root / path.lstrip("/")


@contextmanager
def booted(root: Path, *, first: tuple[str, ...] = SYSTEMD) -> Iterator[Machine]:
    """first: its first process."""
    spaces = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child")
    with (root.parent / f"{root.name}.log").open("w") as log:
        process = subprocess.Popen(
            ["unshare", *spaces, "sh", "-c", MOUNTED, "sh", root, *first],
            env=os.environ | {"DEVICES": " ".join(DEVICES)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        machine = _machine(root, process)
        if first == SYSTEMD:
            _await_systemd(machine)
        yield machine
    finally:
        # Its first process is the init of a namespace, so everything in it ends.
        process.kill()
        process.wait()


@stamina.retry(on=OSError, attempts=None, timeout=BOOTED_WITHIN, wait_initial=0.05, wait_max=0.5)
def _machine(root: Path, process: "subprocess.Popen[bytes]") -> Machine:
    """Raises OSError until the root file system is that of the first process."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    if not children or not Path(f"/proc/{children[0]}/root/run/up").exists():
        raise OSError((root.parent / f"{root.name}.log").read_text())
    return Machine(root, int(children[0]))


@stamina.retry(on=ConnectionError, attempts=None, timeout=BOOTED_WITHIN, wait_initial=0.1, wait_max=0.5)
def _await_systemd(machine: Machine) -> None:
    state = machine.run("systemctl", "is-active", "basic.target", check=False).stdout.strip()
    if state != "active":
        raise ConnectionError(state)


def unpack(tar: Path, root: Path) -> None:
    """Makes the root file system, as if nobody had used it."""
    root.mkdir(parents=True)
    subprocess.run(["tar", "--extract", f"--file={tar}", f"--directory={root}"], check=True)
