"""JSON lines on standard error: one object a log record, with whatever `extra` says; what repeats is said now and then.

A client that has lost its server says so many times a second. The first such line is written at once; what follows
within EVERY_S is counted, and the newest of them written with the count.
"""

import json
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


EVERY_S = 30.0
"""How often a line that repeats is written."""
KINDS = 1000
"""Different lines that are remembered at once."""
OURS = "driftline"
AUDIT = "driftline.audit"
WATCHER = "watchfiles"
HTTP_CLIENT = "httpx"


_speaker: ContextVar[str | None] = ContextVar("service", default=None)
"""The service that a task belongs to, where a process runs several."""


@contextmanager
def speaking(service: str) -> Iterator[None]:
    """What is logged meanwhile, and by the tasks that are begun meanwhile, is this service's."""
    token = _speaker.set(service)
    try:
        yield
    finally:
        _speaker.reset(token)


class ServiceNames(logging.Filter):
    """Notes with each line whose it is: the service's whose task it comes from, or else the process's own name."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def filter(self, record: logging.LogRecord) -> bool:
        record.service = _speaker.get() or self._process
        return True


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message, the extra fields (the service among them), and a stack trace where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": getattr(record, "service", None),
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


def configure(services: Sequence[str], level: str) -> None:
    """Sends every log of the process to standard error as JSON lines. The first of `services` names the process.

    `debug` is for our own loggers: at that level clients of brokers and stores log what they send, passwords among it.
    """
    handler = OnceHandler(sys.stderr)
    handler.addFilter(ServiceNames(services[0]))
    handler.setFormatter(JsonFormatter())
    own = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(own, logging.INFO), handlers=[handler], force=True)
    # It says of each file in a store's folder that it has changed: every heartbeat, at least.
    logging.getLogger(WATCHER).setLevel(logging.WARNING)
    # It names the URL of each request, and that of a webhook is a secret.
    logging.getLogger(HTTP_CLIENT).setLevel(logging.WARNING)
    # Who changed something is written at whatever level.
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    for name in (OURS, *(f"{OURS}_{service}" for service in services)):
        logging.getLogger(name).setLevel(own)
