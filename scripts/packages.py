"""Installs the named Debian packages that are not there yet; needs root. A failure is told in one line.

python3 scripts/packages.py chromium mosquitto
"""

import os
import shutil
import subprocess
import sys

QUIET = {"DEBIAN_FRONTEND": "noninteractive"}


def installed(package: str) -> bool:
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout == "installed"  # noqa: S603


def apt(*command: str) -> None:
    done = subprocess.run(  # noqa: S603
        ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *command],  # noqa: S607
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        sys.exit(f"apt-get {command[0]} failed: {' '.join(last)}")


def main() -> None:
    missing = [package for package in sys.argv[1:] if not installed(package)]
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        sys.exit(f"found no {', '.join(missing)}, and packages can be installed by root on Debian only")
    apt("update")
    apt("install", "-y", "--no-install-recommends", *missing)


if __name__ == "__main__":
    main()
