"""Prints what the named projects need from elsewhere, so that an image gets its dependencies before its code.

python scripts/requirements_of.py core[tables] services/ingest
"""

import re
import sys
import tomllib
from pathlib import Path


def requirements(project: str) -> list[str]:
    """project: a folder, with extras in brackets."""
    match = re.fullmatch(r"([^\[]+)(?:\[(.*)\])?", project)
    if match is None:
        raise ValueError(f"found project {project!r}, expected a folder, with extras in brackets")
    folder, extras = match.groups()
    metadata = tomllib.loads((Path(folder) / "pyproject.toml").read_text())["project"]
    wanted = list(metadata.get("dependencies", []))
    for extra in filter(None, (extras or "").split(",")):
        wanted += metadata["optional-dependencies"][extra]
    return wanted


def main() -> None:
    wanted = {line for project in sys.argv[1:] for line in requirements(project)}
    # What is of this repository is installed from its own folder.
    print("\n".join(sorted(line for line in wanted if not line.startswith("driftline"))))  # noqa: T201


if __name__ == "__main__":
    main()
