"""Which pages there are, and where."""

from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.reference import client, command, messages, metrics, rest, settings, stream_definition

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGES: Mapping[str, Callable[[], str]] = {
    "rest.md": rest.render,
    "messages.md": messages.render,
    "settings.md": settings.render,
    "stream-definition.md": stream_definition.render,
    "metrics.md": metrics.render,
    "command.md": command.render,
    "client.md": client.render,
}


def write() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, render in PAGES.items():
        (FOLDER / name).write_text(render(), encoding="utf-8")
