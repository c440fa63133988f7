"""What a server of line protocol means by its answers: InfluxDB 1, 2 and 3, QuestDB, Telegraf, VictoriaMetrics. Pure.

They agree in the status alone; why lines are refused is in words, which are those servers' own.
"""

import re
from enum import Enum, auto
from typing import Final

SHOWN: Final = 300
"""Letters of an answer."""
_EXPIRED = re.compile("retention", re.IGNORECASE)
_FULL = re.compile(r"no space left|disk .*full|limit exceeded|maximum series", re.IGNORECASE)
_OTHER_TYPE = re.compile(r"conflict|cast error|invalid column type", re.IGNORECASE)
_LATER: Final = frozenset({408, 425, 429})
_UNREADABLE: Final = frozenset({400, 422})


class InfluxAnswer(Enum):
    TAKEN = auto()
    EXPIRED = auto()
    """All lines are, but for those that are older than what the server keeps."""
    LATER = auto()
    TOO_LARGE = auto()
    NO_GZIP = auto()
    UNREADABLE = auto()
    """One of the lines is, or all are."""
    OTHER_TYPE = auto()
    """A field or a column has another type there."""
    FULL = auto()
    NO_ACCESS = auto()
    NOWHERE = auto()
    """There is no such bucket, or nobody who takes lines."""
    OTHER = auto()


_BY_STATUS: Final = {
    **dict.fromkeys(_LATER, InfluxAnswer.LATER),
    401: InfluxAnswer.NO_ACCESS,
    403: InfluxAnswer.NO_ACCESS,
    404: InfluxAnswer.NOWHERE,
    413: InfluxAnswer.TOO_LARGE,
    415: InfluxAnswer.NO_GZIP,
}
REMEDIES: Final = {
    InfluxAnswer.TOO_LARGE: "let the server take larger bodies",
    InfluxAnswer.NO_GZIP: "correct url: no server of line protocol answers there",
    InfluxAnswer.UNREADABLE: "compare the measurements there with docs/sinks.md, or write into another bucket",
    InfluxAnswer.OTHER_TYPE: "give the field the type there that docs/sinks.md has, or write into another bucket",
    InfluxAnswer.FULL: "make room there, or raise its limit",
    InfluxAnswer.NO_ACCESS: "correct token_file, or username and password_file, or let them write into the bucket",
    InfluxAnswer.NOWHERE: 'create the bucket, or correct url, org and bucket; InfluxDB before 1.8 needs `api: "1"`',
    InfluxAnswer.OTHER: "correct url",
}
"""What a person can do."""


def meaning(status: int, text: str) -> InfluxAnswer:
    """Of an answer by HTTP."""
    if status in range(200, 300):
        return InfluxAnswer.TAKEN
    if _FULL.search(text):
        return InfluxAnswer.FULL
    if status in _UNREADABLE:
        return _refusal(text)
    return InfluxAnswer.LATER if status in range(500, 600) else _BY_STATUS.get(status, InfluxAnswer.OTHER)


def _refusal(text: str) -> InfluxAnswer:
    """Servers name what is expired only where nothing else was wrong."""
    if _OTHER_TYPE.search(text):
        return InfluxAnswer.OTHER_TYPE
    return InfluxAnswer.EXPIRED if _EXPIRED.search(text) else InfluxAnswer.UNREADABLE
