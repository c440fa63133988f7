"""A row means the same through every door, and in a file, a replay, a history and an archived window."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from driftline.bus.memory import MemoryBus
from driftline.clock import BelievedClock
from driftline.errors import InvalidInput
from driftline.messages import RECORDS, Record
from driftline.metrics import Metrics
from driftline.streams import tables
from driftline.streams.bounds import TableBounds
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.reading.bodies import RawRows
from driftline.streams.rows import Rows
from driftline_cli.replay import encode as encode_replay
from driftline_ingest.census import Census
from driftline_ingest.door import Door
from driftline_ingest.mqtt_routes import Route
from driftline_ingest.settings import IngestSettings
from driftline_ingest.windows import RecordWindows
from driftline_trainer.unpacking import Means, Packed, unpack

NOW = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
Taken = list[tuple[str, int, tuple[float | None, ...]]]
Raw = dict[str, Any]
LOCAL = "{column: when, period: 30min, zone: Europe/Berlin}"
AUTUMN, SPRING = datetime(2026, 10, 24, 21), datetime(2026, 3, 28, 22)  # noqa: DTZ001 - by the hands of a clock


def defined(time: str, more: str = "") -> StreamDefinition:
    mqtt = "mqtt: {topic: 'site/{key}/weather'}\n"
    return parse(f"name: a\ntime: {time}\nkey: id\ntarget: y\nfeatures: {{x: level}}\n{mqtt}{more}", "a.yaml")


MAPPED = (
    "columns: {y: {path: temp, scale: 0.1, offset: -4, missing: [-127, 'off']}, x: {values: {open: 1, closed: 0}}}\n"
)
ZONED = defined("{column: when, period: 30min}")
PLAIN = defined(LOCAL)
DEVICE = defined(LOCAL, MAPPED)
SECONDS = defined("{column: when, period: 30min, format: s}", MAPPED)
PATTERN = defined(LOCAL.replace("period", "format: '%d/%m/%Y %H.%M', period"))
TIMES: Mapping[str, tuple[StreamDefinition, Callable[[datetime], object]]] = {
    "zoned": (ZONED, lambda t: t.replace(tzinfo=UTC).isoformat()),
    "local": (PLAIN, lambda t: t.isoformat()),
    "device": (DEVICE, lambda t: t.isoformat(" ")),
    "seconds": (SECONDS, lambda t: int(t.replace(tzinfo=UTC).timestamp())),
    "pattern": (PATTERN, lambda t: t.strftime("%d/%m/%Y %H.%M")),
    "day first": (PLAIN, lambda t: t.strftime("%d.%m.%Y %H:%M")),
}
NUMBERS = st.one_of(st.floats(-1e6, 1e6, allow_subnormal=False), st.integers(-1000, 1000), st.just(-127))
VALUES = st.one_of(
    NUMBERS, st.sampled_from([None, "", "unavailable", math.nan, True, False, "off", "open", "warm", math.inf, 1e31])
)


@st.composite
def rows(draw: st.DrawFn, names: tuple[str, str], start: datetime, *, is_local: bool) -> list[Raw]:
    """Half an hour apart, by the hands of a clock where `is_local`."""
    hands = [start + timedelta(minutes=30 * n) for n in range(14)]
    if is_local and start == AUTUMN:
        # The hour from 02:00 is there twice.
        hands = [*hands[:12], *hands[10:]]
    fields = []
    for when in draw(st.lists(st.sampled_from(range(len(hands))), min_size=1, max_size=16, unique=True).map(sorted)):
        row: Raw = {"when": hands[when], "id": draw(st.sampled_from(["007", "7", "1e5", "k"])), names[0]: draw(VALUES)}
        fields.append(row | draw(st.fixed_dictionaries({}, optional={names[1]: VALUES, "battery": NUMBERS})))
    return fields


@given(st.data())
@settings(max_examples=40, deadline=None, phases=(Phase.generate,))
async def test_a_row_means_the_same_through_every_door(data: st.DataObject):
    kind = data.draw(st.sampled_from(sorted(TIMES)))
    stream, written = TIMES[kind]
    names = ("temp" if "y" in stream.sources else "y", "x")
    start, is_local = data.draw(st.sampled_from((AUTUMN, SPRING))), stream.time.zone != "required"
    drawn = data.draw(rows(names, start, is_local=is_local))
    raw = [row | {"when": written(row["when"])} for row in drawn]
    expected = await by_rest(stream, "application/x-ndjson", lines_of(raw))
    assert await by_rest(stream, "application/json", f"[{','.join(map(json.dumps, raw))}]".encode()) == expected
    assert await by_rest(stream, "text/csv", csv_of(raw)) == expected
    assert await by_mqtt(stream, raw) == expected
    one_by_one = Doors(stream)
    for row in raw:
        await one_by_one.post("application/json", json.dumps(row).encode())
    assert await one_by_one.taken() == expected
    for body in (lines_of(raw), csv_of(raw), *parquet_of(raw)):
        assert of_rows(history(body, stream)) == expected
    assert await by_replay(stream, csv_of(raw)) == expected
    assert archived(stream, csv_of(raw)) == sorted(expected, key=lambda taken: taken[0])


def lines_of(raw: Sequence[Raw]) -> bytes:
    return "\n".join(map(json.dumps, raw)).encode()


def csv_of(raw: Sequence[Raw]) -> bytes:
    """What a row lacks is an empty field."""
    text, names = io.StringIO(), list(dict.fromkeys(name for row in raw for name in row))
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([[_text(row.get(name)) for name in names] for row in raw])
    return text.getvalue().encode()


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def parquet_of(raw: Sequence[Raw]) -> list[bytes]:
    """Where every column has values of one kind only."""
    names = [name for name in dict.fromkeys(name for row in raw for name in row) if name != "battery"]
    columns = {name: [row.get(name) for row in raw] for name in names}
    if any(isinstance(value, str | bool) for name in names if name not in {"when", "id"} for value in columns[name]):
        return []
    numbers = {
        name: pa.array(columns[name] if name in {"when", "id"} else map(_float, columns[name])) for name in names
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(numbers), sink)
    return [sink.getvalue()]


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


class Doors:
    """The doors of an ingest of its own."""

    def __init__(self, stream: StreamDefinition) -> None:
        self.stream = stream
        self.bus = MemoryBus(1)
        streams = Streams.of({"a": stream})
        clock = BelievedClock(lambda: NOW)
        self.door = Door(IngestSettings(), self.bus, streams, Census(streams), Metrics(), clock, lambda: True)

    async def post(self, kind: str, body: bytes, *, mapped: bool = False) -> None:
        await self.door.take("a", kind, body, mapped=mapped)

    async def taken(self) -> Taken:
        count = sum((await self.bus.lag(RECORDS, "nobody")).values())
        records: list[Record] = []
        if count:
            async for page in self.bus.tail(RECORDS, earliest=True):
                records += [envelope.value for envelope in page]
                if len(records) >= count:
                    break
        return [
            (record.key, record.t, tuple(record.values[name] for name in self.stream.columns)) for record in records
        ]


async def by_rest(stream: StreamDefinition, kind: str, body: bytes) -> Taken:
    doors = Doors(stream)
    await doors.post(kind, body)
    return await doors.taken()


async def by_mqtt(stream: StreamDefinition, raw: Sequence[Raw]) -> Taken:
    """The key is in the topic."""
    doors, (route, *_) = Doors(stream), Route.of(stream, stream.mqtt)
    payloads = [({name: value for name, value in row.items() if name != "id"}, row["id"]) for row in raw]
    sent = [route.rows(f"site/{key}/weather", json.dumps(payload).encode(), NOW) for payload, key in payloads]
    await doors.door.take_rows(
        "a", RawRows([row for rows in sent for row in rows], text=route.is_text, decimal=route.decimal)
    )
    return await doors.taken()


def history(body: bytes, stream: StreamDefinition) -> Rows | None:
    """As a training reads it; None where no row can be used."""
    try:
        return unpack(Packed(body, stream, "the file"), Means(TableBounds(), 2**30, 3600)).rows
    except InvalidInput:
        return None


async def by_replay(stream: StreamDefinition, body: bytes) -> Taken:
    doors, content = Doors(stream), tables.examine(body, stream, "the file")
    await doors.post("application/x-ndjson", encode_replay(content.rows, stream), mapped=True)
    return await doors.taken()


def archived(stream: StreamDefinition, body: bytes) -> Taken:
    """Through the windows of each series."""
    windows, taken = RecordWindows({"a": stream}), []
    for key, part in tables.examine(body, stream, "the file").rows.by_key().items():
        rows_of_key = [
            windows.pack(Record("a", key, int(t), dict(zip(stream.columns, map(float, values), strict=True)), 0.0))
            for t, values in zip(part.t, part.values, strict=True)
        ]
        window = windows.encode("a", key, rows_of_key)
        taken += of_rows(tables.decode(window, stream, "the window", mapped=True))
    return taken


def of_rows(content: Rows | None) -> Taken:
    if content is None:
        return []
    values = [tuple(None if np.isnan(value) else float(value) for value in row) for row in content.values]
    return list(zip(map(str, content.keys), map(int, content.t), values, strict=True))
