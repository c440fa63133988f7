"""A mapping that matches nothing in the first hundred rows says so with what was there instead, at every door."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from driftline.streams import tables
from driftline.streams.definition_files import parse
from driftline.streams.reading.bodies import RawRows
from driftline_cli import file_check
from driftline_ingest.mqtt_routes import Route
from tests.ingest.test_same_everywhere import NOW, Doors

STREAM = parse(
    "name: a\ntime: {column: when, period: 1s}\nkey: id\ntarget: t\nfeatures: {h: level}\n"
    "mqtt: {topic: 'site/{key}/weather'}\ncolumns: {t: air.temp, h: air.hum}\n",
    "a.yaml",
)
Row = dict[str, Any]
Sender = Callable[[Doors, list[Row]], Awaitable[None]]
NOTHING = "the definition fits none of the first 100 rows: air.temp: found nothing, expected one of air.temp, air.hum"
HALF = (
    "none of the first 100 records has column 'h' (field 'air.hum'), so it is missing in all of them; a row has "
    "when, id, air"
)


def row(n: int, air: dict[str, float]) -> Row:
    return {"when": f"2026-03-01T00:{n // 60:02}:{n % 60:02}Z", "id": "k", "air": air}


def unmatched(count: int) -> list[Row]:
    return [row(n, {"temperature": 1.0}) for n in range(count)]


def half(count: int) -> list[Row]:
    return [row(n, {"temp": 1.0, "humidity": 40}) for n in range(count)]


async def by_json(doors: Doors, rows: list[Row]) -> None:
    for fields in rows:
        await doors.post("application/json", json.dumps(fields).encode())


async def by_csv(doors: Doors, rows: list[Row]) -> None:
    names = ["when", "id", *(f"air.{name}" for name in rows[0]["air"])]
    lines = [[fields["when"], fields["id"], *fields["air"].values()] for fields in rows]
    await doors.post("text/csv", "\n".join(",".join(map(str, line)) for line in [names, *lines]).encode())


async def by_mqtt(doors: Doors, rows: list[Row]) -> None:
    route, *_ = Route.of(STREAM, STREAM.mqtt)
    for fields in rows:
        sent = route.rows("site/k/weather", json.dumps(fields).encode(), NOW)
        await doors.door.take_rows("a", RawRows(sent, text=route.is_text, decimal=route.decimal))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("door", [by_json, by_csv, by_mqtt])
async def test_a_mapping_that_matches_nothing_says_what_was_there_instead(
    door: Sender, caplog: pytest.LogCaptureFixture
):
    doors = Doors(STREAM)
    await door(doors, unmatched(120))
    (error,) = said(caplog)
    assert error.startswith(NOTHING.replace("100", "120") if door is by_csv else NOTHING)
    assert "; the row has when, id, air" in error


@pytest.mark.parametrize("door", [by_json, by_csv, by_mqtt])
async def test_so_does_one_column_that_no_row_has(door: Sender, caplog: pytest.LogCaptureFixture):
    doors = Doors(STREAM)
    await door(doors, half(100))
    (error,) = said(caplog)
    assert error.startswith(HALF)
    await door(doors, half(100))
    assert said(caplog) == [error]


async def test_a_column_that_comes_now_and_then_is_not_named(caplog: pytest.LogCaptureFixture):
    rows = half(200)
    rows[70]["air"] = {"hum": 40.0}
    doors = Doors(STREAM)
    await by_json(doors, rows[:99])
    await by_json(doors, rows[99:])
    assert said(caplog) == []


async def test_ninety_nine_rows_say_nothing_yet(caplog: pytest.LogCaptureFixture):
    doors = Doors(STREAM)
    await by_json(doors, half(99))
    other = Doors(STREAM)
    await by_json(other, unmatched(99))
    assert said(caplog) == []


def test_of_a_file_the_check_says_it():
    lines = [json.dumps(fields) for fields in half(3)]
    result = file_check.check(tables.examine("\n".join(lines).encode(), STREAM, "a.jsonl"), STREAM)
    assert (result.taken, result.absent) == (3, ["h"])
    refused = file_check.check(tables.examine(json.dumps(unmatched(2)).encode(), STREAM, "a.json"), STREAM)
    assert (refused.taken, refused.refused) == (0, 2)
    assert refused.reasons[0].expected == "one of air.temp, air.hum at least; the row has when, id, air"
