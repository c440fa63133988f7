"""Secrets of sinks, read from their files at each use, so that a new one counts without a restart."""

from pathlib import Path

from driftline_combiner.sinks.port import SinkRefused


def read_secret(path: Path | None) -> str | None:
    """What a file holds, without the end of its line; None without a file. Raises SinkRefused where it can't be
    read."""
    if path is None:
        return None
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SinkRefused(f"{path} can't be read: {reason}", f"make {path} a file that the service may read") from None
    if not secret:
        raise SinkRefused(f"{path} is empty", f"write the secret into {path}")
    return secret
