"""What Home Assistant is given, read as it reads it: its templates are Jinja."""

import json
from typing import Any

import jinja2
import pytest

from driftline.streams.definition_files import parse
from driftline_combiner.sinks.home_assistant import (
    described_series,
    discovery_payload,
    discovery_topic,
    duration,
    identifier,
    without_former_sensors,
)
from driftline_combiner.sinks.published import forecast_payload, forecast_topic
from tests.combiner.sinks.blends import TANK, blend

KEYS = ["k1", "k 0/x", "a+b#c", "Außen 1", "%2F", "x" * 300]


def rendered(template: str, payload: bytes) -> str:
    """As Home Assistant renders the template of an MQTT sensor."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701
    return environment.from_string(template).render(value_json=json.loads(payload), value=payload.decode())


def sensors(key: str = "k1") -> list[dict[str, Any]]:
    return list(json.loads(discovery_payload("driftline", TANK, key, "1.0"))["components"].values())


def test_a_series_is_a_device_with_a_sensor_for_each_horizon():
    content = json.loads(discovery_payload("driftline", TANK, "k1", "1.0"))
    assert content["device"]["name"] == "tank k1"
    assert content["device"]["identifiers"] == [identifier("driftline", "tank", "k1")]
    assert content["origin"]["name"]
    assert (content["availability_topic"], content["qos"]) == ("driftline/status", 1)
    assert content["state_topic"] == forecast_topic("driftline", "tank", "k1") == "driftline/tank/k1/forecast"
    assert [sensor["name"] for sensor in sensors()] == ["In 1 h", "In 6 h"]
    assert {sensor["platform"] for sensor in sensors()} == {"sensor"}
    assert len({sensor["unique_id"] for sensor in sensors()}) == 2
    assert {(sensor["unit_of_measurement"], sensor["device_class"]) for sensor in sensors()} == {("kW", "power")}


def test_the_templates_find_each_value_with_its_interval_and_skill():
    near, far = sensors()
    payload = forecast_payload(TANK, blend(2), {1: 0.25})
    assert rendered(near["value_template"], payload) == "2.5"
    assert rendered(far["value_template"], payload) == "None", "which Home Assistant shows as unknown"
    attributes = json.loads(rendered(near["json_attributes_template"], payload))
    assert (attributes["lower"], attributes["upper"], attributes["median"]) == (1.0, 4.0, 2.4)
    assert (attributes["skill"], attributes["time"]) == (0.25, "2026-01-01T03:00:00+00:00")
    assert json.loads(rendered(far["json_attributes_template"], payload))["skill"] is None


@pytest.mark.parametrize(
    ("unit", "kind"),
    [
        ("W/m²", {"unit_of_measurement": "W/m²", "device_class": "irradiance", "state_class": "measurement"}),
        ("kWh", {"unit_of_measurement": "kWh", "device_class": "energy"}),
        ("%", {"unit_of_measurement": "%", "state_class": "measurement"}),
        (None, {"state_class": "measurement"}),
    ],
)
def test_a_device_class_is_named_where_the_unit_leaves_no_doubt(unit, kind):
    columns = f"columns: {{level: {{unit: '{unit}'}}}}\n" if unit else ""
    stream = parse(f"name: s\ntime: {{column: t, period: 15min}}\ntarget: level\nhorizon: [1]\n{columns}", "s.yaml")
    (sensor,) = json.loads(discovery_payload("p", stream, "all", "1"))["components"].values()
    names = ("unit_of_measurement", "device_class", "state_class")
    assert {name: sensor[name] for name in names if name in sensor} == kind


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_a_description_says_which_series_it_is_of(key: str):
    payload = discovery_payload("home/roof", TANK, key, "1.0")
    assert described_series("home/roof", payload) == ("tank", key)
    assert described_series("home", payload) is None


def test_a_sensor_that_was_removed_is_emptied_until_the_next_description():
    payload = discovery_payload("driftline", TANK, "k1", "2.0")
    former = json.loads(discovery_payload("driftline", TANK, "k1", "1.0"))
    assert without_former_sensors(payload, json.dumps(former).encode()) is None
    former["components"]["k1_24"] = {"platform": "sensor", "name": "In 1 d"}
    emptied = json.loads(without_former_sensors(payload, json.dumps(former).encode()) or b"")
    assert emptied["components"].pop("k1_24") == {"platform": "sensor"}
    assert emptied == json.loads(payload)


def test_a_sensor_has_no_state_once_its_forecast_is_out_of_date():
    assert [sensor["expire_after"] for sensor in sensors()] == [3 * 3600, 6 * 3600]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_every_key_has_topics_of_its_own_that_a_broker_takes(key):
    topic = discovery_topic("homeassistant", "home/roof", "tank", key)
    parts = topic.split("/")
    assert len(parts) == 4
    assert parts[2] == identifier("home/roof", "tank", key)
    assert set(parts[2]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    forecast = forecast_topic("home/roof", "tank", key)
    assert forecast.count("/") == 4
    assert not set("+#") & set(forecast)


def test_no_two_series_share_an_identifier_and_it_stays_the_same():
    named = [
        identifier(*parts) for parts in [("a", "b", "c_d"), ("a", "b_c", "d"), ("a_b", "c", "d"), ("a", "b", "c d")]
    ]
    assert len(set(named)) == len(named)
    assert identifier("driftline", "tank", "k1") == "driftline_tank_k1_05b7ee17"


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "1 s"), (900, "15 min"), (3600, "1 h"), (5400, "90 min"), (172800, "2 d")]
)
def test_a_time_ahead_is_named_in_the_largest_unit_that_divides_it(seconds, words):
    assert duration(seconds) == words
