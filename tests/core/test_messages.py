"""Golden messages: what lies on the topics today must be read tomorrow."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from driftline.errors import PoisonMessage
from driftline.messages import (
    ALERTS,
    BLENDS,
    DEAD_LETTERS,
    EDGE,
    FORECASTS,
    OBSERVATIONS,
    RECORDS,
    REPORTS,
    Alert,
    Blend,
    DeadLetter,
    EdgeId,
    Forecast,
    Gap,
    Observation,
    Record,
    ServiceReport,
    StreamHealth,
    Topic,
)

GOLDEN = Path(__file__).parent / "golden"
MESSAGES: list[tuple[Topic[Any], Any]] = [
    (RECORDS, Record("outdoor-temperature", "R80711", 1420070400000, {"Ot_avg": 4.25, "P_avg": None}, 1420070401.5)),
    (OBSERVATIONS, Observation("rooms", "cellar", 1772323202000, {"humidity": 71.0}, 1772323202.5, "house")),
    (
        FORECASTS,
        Forecast(
            stream="outdoor-temperature",
            key="R80711",
            t=1420070400000,
            observed=4.25,
            horizon=[1, 6],
            members={"persistence": [4.25, 4.25], "rls": [4.5, None]},
            versions={"batch": "v000001-0123456789ab"},
            received=1420070401.5,
            shifts={"P_avg": (0.75, -812.5)},
            grid_t=1420070400000,
            skills={"batch": [0.25, 0.5]},
        ),
    ),
    (
        BLENDS,
        Blend(
            stream="outdoor-temperature",
            key="R80711",
            t=1420070400000,
            observed=None,
            horizon=[1],
            value=[4.375],
            strategy="online",
            strategies={"static": [4.375], "window": [None], "online": [4.375]},
            weights={"persistence": [0.5], "rls": [0.5]},
            members={"persistence": [4.25], "rls": [4.5]},
            versions={},
            received=1420070401.5,
            lower=[3.5],
            upper=[5.25],
            guarded=[False],
            grid_t=1420070400000,
            times=[1420071000000],
            quantiles={"0.05": [3.5], "0.5": [4.25], "0.95": [None]},
        ),
    ),
    (ALERTS, Alert("outdoor-temperature", "R80711", 1420070400000, "drift", "blend", "its error has changed")),
    (
        REPORTS,
        ServiceReport(
            service="combiner",
            replica="4f2a91c0d3e5",
            every=60.0,
            lacks={"bus": "the broker is away"},
            streams={
                "outdoor-temperature": StreamHealth(
                    keys=4, newest=1420070400000, scored=812, skill={"1": 0.125}, coverage={"1": 0.9125}
                )
            },
            waiting=3,
            gaps=[Gap(stream="rooms", what="windows", since=1420070400000, until=1420156800000, count=144)],
        ),
    ),
    (EDGE, EdgeId("k3f9a1x0q7bz")),
    (DEAD_LETTERS, DeadLetter("driftline.records.v1", 3, 42, "inference", "expected a Record", b"\x00garbage")),
]


@pytest.mark.parametrize(("topic", "message"), MESSAGES, ids=lambda part: getattr(part, "name", ""))
def test_a_message_is_what_its_golden_file_says(topic: Topic[Any], message: msgspec.Struct):
    golden = (GOLDEN / f"{topic.name}.json").read_bytes()
    assert topic.decode(golden) == message
    assert msgspec.json.decode(topic.encode(message)) == msgspec.json.decode(golden)


def test_a_field_that_a_later_version_adds_is_passed_over():
    topic, message = MESSAGES[0]
    later = msgspec.json.decode(topic.encode(message)) | {"quality": "good"}
    assert topic.decode(msgspec.json.encode(later)) == message


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b'{"stream": 1}', b"\xff\xfe"])
def test_anything_else_is_poison(payload: bytes):
    with pytest.raises(PoisonMessage, match=r"driftline\.records\.v1: expected a Record"):
        RECORDS.decode(payload)


def test_a_number_that_is_not_finite_travels_as_null():
    assert b'"value":[null]' in BLENDS.encode(msgspec.structs.replace(MESSAGES[3][1], value=[float("nan")]))


def test_a_record_says_when_it_was_issued_only_where_it_is_a_future():
    record = Record("a", "k", 7, {"y": 1.0}, 1.5)
    assert b"issued" not in RECORDS.encode(record)
    future = msgspec.structs.replace(record, issued=0)
    assert RECORDS.decode(RECORDS.encode(future)) == future != record
