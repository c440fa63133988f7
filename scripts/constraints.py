"""Pins every package, once for every supported Python: writes the files of `constraints/` anew.

    python scripts/constraints.py              keeps the pins, adds what is missing, drops what is not needed
    python scripts/constraints.py numpy uv     moves these two to their newest versions
    python scripts/constraints.py --all        moves everything

Supports another Python: an empty file `constraints/3.x.txt`, then this. A package without a wheel fails.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Every package, pinned for Python {version}; scripts/constraints.py writes this file.\n"
SETS = {
    "constraints": "requirements-dev.txt",
    "constraints/tflite-runtime": "requirements-tflite-runtime.txt",
    "constraints/quix": "requirements-quix.txt",
}
"""Where the pins lie, and what they are pins of."""
TOOLS = "pip\nuv\n"
"""What scripts/bootstrap.py itself installs."""


def pin(file: Path, requirements: str, upgrades: list[str]) -> None:
    version = file.stem
    own = ROOT / requirements
    options = ["--universal", f"--python-version={version}", "--no-build", "--no-header", "--no-annotate", *upgrades]
    command = [sys.executable, "-m", "uv", "pip", "compile", "-q", *options, f"--output-file={file}", str(own), "-"]
    # What is installed from this tree is no pin; uv would refuse it in its own file.
    done = subprocess.run(command, input=TOOLS, text=True, check=False, cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: S603
    if done.returncode:
        sys.exit(f"no set of versions for Python {version}; what uv says stands above")
    pins = [line for line in file.read_text().splitlines() if line and not line.startswith(("-e", "#"))]
    file.write_text(HEADER.format(version=version) + "\n".join(pins) + "\n")


def main() -> None:
    wanted = sys.argv[1:]
    upgrades = ["--upgrade"] if wanted == ["--all"] else [f"--upgrade-package={name}" for name in wanted]
    for folder, requirements in SETS.items():
        for file in sorted((ROOT / folder).glob("3.*.txt")):
            pin(file, requirements, upgrades)


if __name__ == "__main__":
    main()
