"""What topics and payloads of MQTT mean for a stream, and which mappings make no sense."""

import json
import re

import pytest

from driftline.errors import InvalidDefinition
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline_ingest.mqtt_routes import Route, Unreadable

BASE = "time: {column: when, period: 1s}\nkey: id\ntarget: y\n"


def stream(name: str, mqtt: str, more: str = "") -> StreamDefinition:
    return parse(f"name: {name}\n{BASE}{more}mqtt: {mqtt}\n", f"{name}.yaml")


TANK = stream("tank", "{topic: 'plant/{key}/tank'}")
PLAIN = stream("plain", "{topic: 'plain/{key}', payload: number}")
LINES = stream("lines", "{topic: 'lines/+', payload: csv, columns: [when, id, y, x]}", "features: {x: level}\n")


BY_SITE = stream("sites", "{topic: 'sites/{group}/{key}', payload: number}", "group: site\n")
SITE_INSIDE = stream("inside", "{topic: 'inside/{key}'}", "group: site\n")


BY_COLUMN = parse(
    "name: rooms\ntime: {period: 1s, arrival: trust}\nkey: id\ntarget: y\nfeatures: {x: level}\ngrid: {grace: 0}\n"
    "mqtt: {topic: 'home/{key}/{column}', payload: number}\n",
    "rooms.yaml",
)


def row(defined: StreamDefinition, topic: str, payload: bytes) -> object:
    (only,) = Route.of(defined, defined.mqtt)[0].rows(topic, payload, 0.0)
    return only


def test_topics_and_payloads_become_rows():
    assert row(TANK, "plant/n 1/tank", b'{"y": 1.5, "when": "2026-01-01T00:00:00Z"}') == {
        "y": 1.5,
        "when": "2026-01-01T00:00:00Z",
        "id": "n 1",
    }
    assert row(PLAIN, "plain/a", b"2.5") == {"y": 2.5, "id": "a"}
    assert row(LINES, "lines/any", b"2026-01-01T00:00:00Z,k,1.5,\n") == {
        "when": "2026-01-01T00:00:00Z",
        "id": "k",
        "y": "1.5",
        "x": None,
    }


def test_a_number_s_word_may_say_nothing_and_nothing_is_no_message():
    """A broker deletes what it keeps of a topic by an empty message."""
    assert row(PLAIN, "plain/a", b"unavailable") == {"y": "unavailable", "id": "a"}
    with pytest.raises(Unreadable, match="found an empty message"):
        row(PLAIN, "plain/a", b"")


def test_a_message_may_hold_a_list_of_rows():
    (route,) = Route.of(TANK, TANK.mqtt)
    payload = b'\xef\xbb\xbf[{"y": 1, "when": "2026-01-01T00:00:00Z"}, 7, {"y": 2, "id": "b"}]'
    assert route.rows("plant/n 1/tank", payload, 0.0) == [
        {"y": 1, "when": "2026-01-01T00:00:00Z", "id": "n 1"},
        7,
        {"y": 2, "id": "b"},
    ]
    assert route.rows("plant/n 1/tank", b"[]", 0.0) == []


def test_a_topic_may_name_the_column_of_a_number():
    (route,) = Route.of(BY_COLUMN, BY_COLUMN.mqtt)
    assert route.filter == "home/+/+"
    assert route.rows("home/attic/x", b"44.0", 0.0) == [{"x": 44.0, "id": "attic"}]
    assert route.foreign_column("home/attic/x") is None
    assert route.foreign_column("home/attic/battery") == "battery"


@pytest.mark.parametrize(
    ("mqtt", "more", "message"),
    [
        ("{topic: 'a/{key}/{column}', payload: number}", "", "found {column} in the topic, expected a `grid` too"),
        ("{topic: 'a/{key}/{column}'}", "grid: {}\n", "found {column}, expected it with payload number alone"),
        ("{topic: 'a/{key}', payload: number}", "features: {x: level}\n", "or {column} in the topic"),
    ],
)
def test_a_column_that_no_record_can_be_made_of_is_refused(mqtt: str, more: str, message: str):
    with pytest.raises(InvalidDefinition, match=re.escape(message)):
        stream("wrong", mqtt, more)


def test_a_group_comes_from_the_topic_or_the_payload():
    assert BY_SITE.mqtt is not None
    assert Route.of(BY_SITE, BY_SITE.mqtt)[0].filter == "sites/+/+"
    assert row(BY_SITE, "sites/north/k", b"2.5") == {"y": 2.5, "id": "k", "site": "north"}
    assert row(SITE_INSIDE, "inside/k", b'{"y": 1, "site": "north"}') == {
        "y": 1,
        "id": "k",
        "site": "north",
    }


@pytest.mark.parametrize(
    ("mqtt", "more", "message"),
    [
        ("{topic: 'a/{group}/{key}'}", "", "found {group} in the topic, expected it only where `group` names a column"),
        ("{topic: 'a/{group}/{key}'}", "group: all\n", "found {group} in the topic, expected it only where"),
        ("{topic: 'a/{key}', payload: number}", "group: site\n", "found no {group} in the topic, expected it"),
    ],
)
def test_a_group_that_no_message_names_is_refused(mqtt: str, more: str, message: str):
    with pytest.raises(InvalidDefinition, match=re.escape(message)):
        stream("wrong", mqtt, more)


def test_futures_come_on_topics_of_their_own():
    mapping = "{topic: 'tank/{key}', payload: number, futures: 'plan/{key}'}"
    planned = stream("planned", mapping, "futures: {demand: level}\n")
    assert planned.mqtt is not None
    _, plan = Route.of(planned, planned.mqtt)
    assert (plan.filter, plan.futures, plan.is_text) == ("plan/+", True, False)
    planned_row = {"when": "1970-01-02T00:00:00Z", "demand": 2.5}
    completed = planned_row | {"id": "a", "issued": "1970-01-01T00:00:00.000+00:00"}
    assert plan.rows("plan/a", json.dumps(planned_row).encode(), 0.0) == [completed]
    assert plan.rows("plan/a", json.dumps([planned_row, planned_row]).encode(), 0.0) == [completed, completed]
    with pytest.raises(InvalidDefinition, match=re.escape("mqtt.futures: found a topic, expected none")):
        stream("wrong", mapping)


def test_a_payload_that_holds_a_name_twice_is_no_row():
    with pytest.raises(Unreadable, match="found 'y' twice in one object"):
        row(TANK, "plant/n1/tank", b'{"y": 1, "y": 2}')


@pytest.mark.parametrize("mqtt", ["{topic: a, payload: csv}", "{topic: a, columns: [y]}", "{topic: a, payload: xml}"])
def test_a_mapping_that_makes_no_sense_is_refused(mqtt: str):
    with pytest.raises(InvalidDefinition, match="mqtt"):
        stream("wrong", mqtt)
