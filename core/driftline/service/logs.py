"""JSON lines on standard error: one object a log record, with whatever `extra` says; what repeats is said now and then.

A client that has lost its server says so many times a second. The first such line is written at once; what follows
within EVERY_S is counted, and the newest of them written with the count.
"""

import json
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


EVERY_S = 30.0
"""How often a line that repeats is written."""
KINDS = 1000
"""Different lines that are remembered at once."""
OURS = "driftline"


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message, the extra fields, and a stack trace where there is one."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class Repeats:
    """Lines of one kind within `every` seconds: the newest, and how many there were after the first."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.count = 0
        self.newest: logging.LogRecord | None = None


class OnceHandler(logging.StreamHandler[TextIO]):
    """Writes a line that repeats once every `every` seconds, by a clock that is not set back."""

    def __init__(self, stream: TextIO, every: float = EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._every = every
        self._clock = clock
        self._kinds: OrderedDict[object, Repeats] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`; called under the handler's lock."""
        now = self._clock()
        while self._kinds and (self._eldest.began <= now - self._every or len(self._kinds) > KINDS):
            self._write(self._kinds.popitem(last=False)[1])
        kind = kind_of(record)
        known = self._kinds.get(kind)
        if known is not None:
            known.count, known.newest = known.count + 1, record
            return
        self._kinds[kind] = Repeats(now)
        super().emit(record)

    def close(self) -> None:
        """Writes what is still counted: the process ends."""
        while self._kinds:
            self._write(self._kinds.popitem(last=False)[1])
        super().close()

    @property
    def _eldest(self) -> Repeats:
        return next(iter(self._kinds.values()))

    def _write(self, repeats: Repeats) -> None:
        if repeats.newest is not None:
            repeats.newest.repeated = repeats.count
            super().emit(repeats.newest)


def kind_of(record: logging.LogRecord) -> object:
    """What makes two lines the same. Of ours all that they say; of a client's what they say of whatever it is: in its
    addresses, numbers and times each differs from the one before."""
    said = record.getMessage() if record.name.startswith(OURS) else str(record.msg)
    texts = tuple(value for name, value in vars(record).items() if name not in _STANDARD and isinstance(value, str))
    return (record.name, record.levelno, said, *texts)


def configure(service: str, level: str) -> None:
    """Sends every log of the process to standard error as JSON lines.

    `debug` is for our own loggers: at that level clients of brokers and stores log what they send, passwords among it.
    """
    handler = OnceHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    own = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(own, logging.INFO), handlers=[handler], force=True)
    for name in ("driftline", f"driftline_{service}"):
        logging.getLogger(name).setLevel(own)
