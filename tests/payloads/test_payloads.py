"""What devices and exporters send, and the records that it must be: by the doors, and as a file. None needs code."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from driftline.clock import shown
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.reading.bodies import RawRows
from driftline_ingest.mqtt_routes import Route
from driftline_ingest.receipts import Receipt
from tests.ingest.test_same_everywhere import NOW, Doors, Taken, of_rows

FOLDER = Path(__file__).parent


def payloads() -> list[Any]:
    return [
        pytest.param(payload, id=f"{path.stem}: {payload['device']}")
        for path in sorted(FOLDER.glob("*.yaml"))
        for payload in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]


def defined(payload: dict[str, Any]) -> StreamDefinition:
    stream = {"name": "a", **payload["stream"]}
    return parse(yaml.safe_dump(stream, allow_unicode=True, sort_keys=False), "a.yaml")


def expected(payload: dict[str, Any], stream: StreamDefinition) -> Taken:
    records = []
    for key, when, *values in payload["records"]:
        t = NOW if when == "arrival" else datetime.fromisoformat(when).timestamp()
        numbers = tuple(None if value is None else float(value) for value in values)
        assert len(numbers) == len(stream.columns)
        records.append((key, round(t * 1000), numbers))
    return records


def check(taken: Taken, payload: dict[str, Any], stream: StreamDefinition) -> None:
    wanted = expected(payload, stream)
    assert [record[:2] for record in taken] == [record[:2] for record in wanted], [shown(t / 1000) for _, t, _ in taken]
    for (_, _, values), (_, _, right) in zip(taken, wanted, strict=True):
        assert values == pytest.approx(right, nan_ok=True)


def refusals(receipts: list[Receipt]) -> list[str]:
    return [f"found {row.found}, expected {row.expected}" for receipt in receipts for row in receipt.refused]


def check_refusals(sentences: list[str], payload: dict[str, Any]) -> None:
    wanted = payload.get("refused", [])
    assert len(sentences) == len(wanted), sentences
    assert all(words in sentence for words, sentence in zip(wanted, sentences, strict=True)), sentences


@pytest.mark.parametrize("payload", payloads())
async def test_what_a_device_sends_is_taken(payload: dict[str, Any]):
    stream = defined(payload)
    doors = Doors(stream)
    receipts = [(await doors.door.take("a", kind, body))[0] for kind, body in bodies(payload)]
    receipts += [await by_mqtt(doors, stream, message) for message in payload.get("mqtt", ())]
    check(await doors.taken(), payload, stream)
    check_refusals(refusals(receipts), payload)


@pytest.mark.parametrize("payload", [payload for payload in payloads() if "mqtt" not in payload.values[0]])
def test_a_file_of_it_holds_the_same(payload: dict[str, Any]):
    stream = defined(payload)
    lines = [body for kind, body in bodies(payload)]
    content = tables.examine(b"\n".join(lines), stream, "the file")
    check(of_rows(content.rows), payload, stream)
    check_refusals([content.sentence(refusal) for refusal in content.refusals], payload)
    assert not np.isnan(content.rows.t).any()


def bodies(payload: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    for row in payload.get("json", ()):
        yield "application/json", json.dumps(row).encode()
    for text in payload.get("text_json", ()):
        yield "application/json", text.encode()
    if "csv" in payload:
        yield "text/csv", payload["csv"].encode(payload.get("encoding", "utf-8"))


async def by_mqtt(doors: Doors, stream: StreamDefinition, message: dict[str, Any]) -> Receipt:
    route, *_ = Route.of(stream, stream.mqtt)
    payload = message.get("payload", message.get("text"))
    body = payload if isinstance(payload, str) else json.dumps(payload)
    rows = route.rows(message["topic"], body.encode(), NOW)
    receipt, _ = await doors.door.take_rows("a", RawRows(rows, text=route.is_text, decimal=route.decimal))
    return receipt
