"""The file of sinks: what it may hold, and how mistakes in it are named."""

from pathlib import Path

import pytest

from driftline.errors import InvalidInput
from driftline.service.settings import read_settings
from driftline_combiner.settings import CombinerSettings
from driftline_combiner.sinks.settings import MqttSection, WebhookSection, read_sinks

WHOLE = """
sinks:
  home:
    type: mqtt
    host: broker.local
    username: driftline
    password_file: /run/secrets/mqtt
  phone:
    type: webhook
    url: https://ntfy.sh/attic
    preset: ntfy
    kinds: [drift]
"""


def file(folder: Path, text: str) -> Path:
    path = folder / "sinks.yaml"
    path.write_text(text)
    return path


def test_a_file_names_sinks_of_several_types(tmp_path):
    sinks = read_sinks(file(tmp_path, WHOLE))
    home, phone = sinks["home"], sinks["phone"]
    assert isinstance(home, MqttSection)
    assert (home.port, home.prefix, home.discovery) == (1883, "driftline", "homeassistant")
    assert isinstance(phone, WebhookSection)
    assert (phone.preset, phone.kinds, phone.begin) == ("ntfy", ("drift",), "now")


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "found NoneType, expected one key `sinks`"),
        ("[]", "found list, expected one key `sinks`"),
        ("sinks: {}\nmore: 1", "expected one key `sinks`"),
        ("sinks: [1]", "expected one key `sinks`"),
        ("{", "not YAML"),
        ("sinks: {a: 2026-13-01}", "not YAML: month must be in 1..12"),
        ("sinks: {a: 1}", "sinks.a: found 1, expected"),
        ("sinks: {a: {host: x}}", "sinks.a: found {'host': 'x'}, expected: Unable to extract tag"),
        ("sinks: {a: {type: telex}}", "'mqtt', 'webhook'"),
        ("sinks: {a: {type: mqtt}}", "sinks.a.mqtt.host: found nothing, expected this key"),
        ("sinks: {a: {type: mqtt, host: x, hots: y}}", "sinks.a.mqtt.hots: found a key that no sink of this type has"),
        ("sinks: {a: {type: mqtt, host: x, port: 70000}}", "sinks.a.mqtt.port: found 70000, expected"),
        ("sinks: {a: {type: mqtt, host: x, prefix: 'a/#'}}", "prefix: found 'a/#', expected a topic such as driftline"),
        ("sinks: {a: {type: mqtt, host: x, password: hush}}", "password: found a key that no sink of this type has"),
        ("sinks: {A b: {type: mqtt, host: x}}", "found 'A b', expected"),
        ("sinks: {a: {type: webhook}}", "expected one of url and url_file"),
        ("sinks: {a: {type: webhook, url: x.org}}", "url: found 'x.org', expected a URL such as https://host"),
        ("sinks: {a: {type: webhook, url: 'https://u:p@x.org'}}", "expected a URL without a user and a password"),
    ],
)
def test_a_mistake_is_named_with_what_was_expected(tmp_path, text, mistake):
    with pytest.raises(InvalidInput) as raised:
        read_sinks(file(tmp_path, text))
    assert mistake in str(raised.value)


def test_a_sink_that_is_named_twice_is_said_and_the_later_one_counts(tmp_path, caplog):
    path = file(tmp_path, f"{WHOLE}  home: {{type: mqtt, host: other.local}}\n")
    home = read_sinks(path)["home"]
    assert isinstance(home, MqttSection)
    assert home.host == "other.local"
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: line 13: found 'home' for the second time, which alone counts"
    ]


def test_a_service_with_a_wrong_file_does_not_start_and_shows_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "DRIFTLINE_SINKS", str(file(tmp_path, "sinks: {a: {type: webhook, url: 'https://u:hush@x.org'}}"))
    )
    with pytest.raises(InvalidInput, match=r"DRIFTLINE_SINKS: .*sinks\.yaml: sinks\.a\.webhook\.url") as raised:
        read_settings(CombinerSettings)
    assert "hush" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DRIFTLINE_SINKS", str(tmp_path / "none.yaml"))
    with pytest.raises(InvalidInput, match=r"DRIFTLINE_SINKS: .*none\.yaml: can't be read"):
        read_settings(CombinerSettings)
