"""The stream that an MQTT topic belongs to, and the rows that its messages bring, by the definition's `mqtt`. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from driftline.streams import topic_filters
from driftline.streams.data_sections import Mqtt
from driftline.streams.definition import ISSUED, StreamDefinition
from driftline.streams.reading.bodies import UNREADABLE, decode
from driftline.streams.reading.paths import ABSENT, path_of
from driftline.streams.reading.values import Decimal

PARTS = {"{key}": r"(?P<key>[^/]+)", "{group}": r"(?P<group>[^/]+)", "{column}": r"(?P<column>[^/]+)"}
PARTS |= {"+": r"[^/]+", "#": r".*"}


class Unreadable(Exception):
    """A payload that is not what the definition says."""


@dataclass(frozen=True)
class Route:
    """Which stream a topic belongs to."""

    stream: StreamDefinition
    mapping: Mqtt
    topics: str
    """As the definition has them."""
    pattern: re.Pattern[str]
    futures: bool = False
    """Whether its messages are futures, not records."""

    @classmethod
    def of(cls, stream: StreamDefinition, mapping: Mqtt) -> list["Route"]:
        """That of records, and that of futures where there is one."""
        routes = [cls(stream, mapping, mapping.topic, _pattern(mapping.topic))]
        if mapping.futures is not None:
            routes.append(cls(stream, mapping, mapping.futures, _pattern(mapping.futures), futures=True))
        return routes

    @property
    def filter(self) -> str:
        return topic_filters.plain(self.topics)

    @property
    def is_text(self) -> bool:
        """Whether numbers are written as text."""
        return self.mapping.payload in {"csv", "number"} and not self.futures

    @property
    def decimal(self) -> Decimal:
        """What a number's decimals follow."""
        return self.stream.csv.decimal or ("." if self.mapping.separator == "," else "either")

    def rows(self, topic: str, payload: bytes, now: float) -> list[object]:
        """The rows that a message brings: key and group from the topic where the payload has none. A future without a
        time of issue is of now. Raises Unreadable."""
        match = self.pattern.fullmatch(topic)
        in_topic = match.groupdict() if match is not None else {}
        content = self._payload(payload, in_topic.get("column"))
        rows: list[object] = content if isinstance(content, list) else [content]
        for row in rows:
            if isinstance(row, dict):
                self._complete(row, in_topic, now)
        return rows

    def _complete(self, row: dict[str, object], in_topic: Mapping[str, str], now: float) -> None:
        """in_topic: key and group."""
        named = {"key": self.stream.key, "group": next(iter(self.stream.group_columns), None)}
        for part, column in named.items():
            path = path_of(self.stream, column) if column is not None and part in in_topic else None
            if path is not None and path.value(row) is ABSENT:
                row[path.text] = in_topic[part]
        if self.futures:
            row.setdefault(ISSUED, datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"))

    def foreign_column(self, topic: str) -> str | None:
        """The name of what a topic is about, where that is no column of the stream."""
        match = self.pattern.fullmatch(topic) if topic_filters.COLUMN in self.topics else None
        name = match["column"] if match is not None else None
        paths = (path_of(self.stream, column) for column in self.stream.columns)
        return name if name not in {path.text for path in paths if path is not None} else None

    def _payload(self, payload: bytes, column: str | None) -> dict[str, object] | list[object]:
        """column: what the topic says that a number is of."""
        kind = "json" if self.futures else self.mapping.payload
        try:
            if kind == "csv":
                fields = payload.decode(self.stream.csv.encoding).strip().split(self.mapping.separator)
                return {name: field or None for name, field in zip(self.mapping.columns, fields, strict=True)}
            if kind == "number":
                target = path_of(self.stream, self.stream.target)
                return {column or (target.text if target else self.stream.target): _number_or_text(payload)}
            content = decode(payload)
        except (*UNREADABLE, ValueError) as error:
            raise Unreadable(f"expected {kind}: {error}") from error
        if not isinstance(content, (dict, list)):
            raise Unreadable(f"found {type(content).__name__}, expected a JSON object of columns, or a list of them")
        return content


def _number_or_text(payload: bytes) -> object:
    """A number, or a word such as `unavailable`. Raises UnicodeDecodeError, ValueError for nothing at all, by which a
    message that a broker keeps is deleted."""
    if not payload:
        raise ValueError("found an empty message")
    try:
        return decode(payload)
    except UNREADABLE:
        return payload.decode()


def _pattern(topics: str) -> re.Pattern[str]:
    pieces = re.split(r"(\{key\}|\{group\}|\{column\}|\+|#)", topics)
    return re.compile("".join(PARTS.get(piece) or re.escape(piece) for piece in pieces))
