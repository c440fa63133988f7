"""Writes what comes on its standard input into a file of bounded size, until it ends: `python rotation.py FILE`.

A process of its own beside each that is started, since not all of them are ours: Kafka and the store's server would
fill the disk as well. The standard library alone, so that it starts at once and is small.
"""

import os
import sys
from logging import makeLogRecord
from logging.handlers import RotatingFileHandler

SIZE = 10 * 1024 * 1024
FILES = 3
"""As many in all as `compose/parts.yaml` keeps of a container."""
LINE = 64 * 1024
"""Bytes of a line at most; a longer one is broken."""


def main(file: str) -> None:
    os.umask(0o077)
    handler = RotatingFileHandler(file, maxBytes=SIZE, backupCount=FILES - 1, encoding="utf-8")
    for line in iter(lambda: sys.stdin.buffer.readline(LINE), b""):
        handler.emit(makeLogRecord({"msg": line.decode(errors="replace").rstrip("\n")}))


if __name__ == "__main__":
    main(sys.argv[1])
