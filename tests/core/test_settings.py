"""Settings: what is wrong is named with what was found and what is allowed, and a secret is never shown."""

import traceback
from pathlib import Path

import pytest

from driftline.errors import InvalidInput
from driftline.service.setting_names import OF_SERVICES
from driftline.service.settings import Settings, read_settings
from driftline_combiner.settings import CombinerSettings
from driftline_edge.settings import EdgeSettings
from driftline_inference.settings import InferenceSettings
from driftline_ingest.settings import IngestSettings
from driftline_trainer.settings import TrainerSettings
from tests.security.authority import Authority

KINDS = (IngestSettings, InferenceSettings, CombinerSettings, TrainerSettings)
SECRET = "hush-hush 7"  # noqa: S105 - a test's
SASL = {"KAFKA_SASL_USERNAME": "me", "KAFKA_SASL_PASSWORD": "hush"}
PLAIN = "DRIFTLINE_KAFKA_SECURITY_PROTOCOL: found 'PLAINTEXT', expected 'SASL_SSL'"
BUCKET = {"STORE": "s3://bucket"}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name if name.isupper() and name.startswith(("AWS", "SSL")) else f"DRIFTLINE_{name}", value)


@pytest.mark.parametrize(
    ("kind", "variables", "lines"),
    [
        (Settings, {"PORT": "99999"}, ["DRIFTLINE_PORT: found '99999': Input should be less than or equal to 65535"]),
        (TrainerSettings, {"PORT": "high"}, ["DRIFTLINE_PORT: found 'high': Input should be a valid integer"]),
        (
            Settings,
            {"KAFKA_SECURITY_PROTOCOL": "TLS"},
            ["DRIFTLINE_KAFKA_SECURITY_PROTOCOL: found 'TLS': Input should be 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT'"],
        ),
        (
            Settings,
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"},
            [
                "DRIFTLINE_KAFKA_SASL_USERNAME: found nothing, expected one, since DRIFTLINE_KAFKA_SECURITY_PROTOCOL",
                "DRIFTLINE_KAFKA_SASL_PASSWORD: found nothing, expected one",
            ],
        ),
        (
            Settings,
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "me"},
            ["DRIFTLINE_KAFKA_SASL_PASSWORD: found nothing, expected one"],
        ),
        (
            Settings,
            SASL,
            [f"{PLAIN}, since DRIFTLINE_KAFKA_SASL_USERNAME is set"],
        ),
        (
            Settings,
            SASL | {"KAFKA_SECURITY_PROTOCOL": "SSL"},
            ["DRIFTLINE_KAFKA_SECURITY_PROTOCOL: found 'SSL', expected 'SASL_SSL'"],
        ),
        (
            Settings,
            {"KAFKA_CA_FILE": "/ca.pem"},
            [f"{PLAIN}, since DRIFTLINE_KAFKA_CA_FILE is set"],
        ),
        (
            Settings,
            {"KAFKA_CA_FILE": "/nowhere/ca.pem", "KAFKA_SECURITY_PROTOCOL": "SSL"},
            ["DRIFTLINE_KAFKA_CA_FILE: found '/nowhere/ca.pem', expected a file of certificates in PEM"],
        ),
        (Settings, {"STORE": "gs://bucket"}, ["DRIFTLINE_STORE: found 'gs://bucket', expected a folder, or s3://"]),
        (Settings, {"STORE": "s3://"}, ["DRIFTLINE_STORE: found 's3://', expected a folder, or s3://BUCKET"]),
        *(
            (Settings, {name: "http://s3:7070"}, [f"DRIFTLINE_{name}: found 'http://s3:7070', expected none, since"])
            for name in ("STORE_ENDPOINT", "STORE_QUEUE", "STORE_TOPIC")
        ),
        (
            Settings,
            BUCKET | {"STORE_ENDPOINT": "store:7070"},
            ["DRIFTLINE_STORE_ENDPOINT: found 'store:7070', expected a URL such as https://host:port"],
        ),
        (
            Settings,
            BUCKET | {"STORE_ENDPOINT": "https://me:hush@store:7070"},
            ["DRIFTLINE_STORE_ENDPOINT: found 'https://…@store:7070', expected a URL without a user and a password"],
        ),
        (
            Settings,
            {"SECRETS": "/nowhere"},
            ["DRIFTLINE_SECRETS: found '/nowhere', expected a folder that can be read"],
        ),
        (Settings, {"AWS_CA_BUNDLE": "/nowhere"}, ["AWS_CA_BUNDLE: found '/nowhere', expected a file of certificates"]),
        (Settings, {"SSL_CERT_FILE": "/nowhere"}, ["SSL_CERT_FILE: found '/nowhere', expected a file of certificates"]),
        (IngestSettings, {"MQTT_USERNAME": "me"}, ["DRIFTLINE_MQTT_HOST: found nothing, expected the broker's name"]),
        (
            IngestSettings,
            {"MQTT_HOST": "broker", "MQTT_CA_FILE": "/nowhere"},
            ["DRIFTLINE_MQTT_TLS: found False, expected true, since", "DRIFTLINE_MQTT_CA_FILE: found '/nowhere'"],
        ),
        (
            CombinerSettings,
            {"TRAINER": "trainer:8004"},
            ["DRIFTLINE_TRAINER: found 'trainer:8004', expected a URL such as https://host:port"],
        ),
        (CombinerSettings, {"PAGE_SERVICES": "{"}, ["DRIFTLINE_PAGE_SERVICES: found '{': EOF while parsing an object"]),
        (
            CombinerSettings,
            {"PAGE_SERVICES": '{"trainer": "trainer"}'},
            ["DRIFTLINE_PAGE_SERVICES: found 'trainer', expected a URL"],
        ),
        (
            TrainerSettings,
            {"SIGNING_KEY": "key", "SIGNING_KEY_FILE": "/key.pem"},
            ["DRIFTLINE_SIGNING_KEY_FILE: found '/key.pem', expected none, since DRIFTLINE_SIGNING_KEY is set"],
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_what_can_not_be_meant_is_said_in_a_line(monkeypatch, kind: type[Settings], variables, lines: list[str]):
    set_all(monkeypatch, variables)
    with pytest.raises(InvalidInput) as refused:
        read_settings(kind)
    said = str(refused.value).splitlines()
    assert len(said) == len(lines)
    for line, beginning in zip(said, lines, strict=True):
        assert line.startswith(beginning)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "variables",
    [
        SASL | {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"},
        BUCKET | {"STORE_ENDPOINT": "http://store:7070", "STORE_QUEUE": "http://sqs/q", "STORE_TOPIC": "events"},
        {"STORE_ENDPOINT": "", "TOKEN": ""},
    ],
)
def test_what_belongs_together_is_taken(monkeypatch, variables: dict[str, str]):
    set_all(monkeypatch, variables)
    for kind in KINDS:
        read_settings(kind)


def test_an_authority_that_can_be_read_is_taken(monkeypatch, tmp_path: Path):
    file = str(Authority(tmp_path).file)
    set_all(monkeypatch, {"AWS_CA_BUNDLE": file, "KAFKA_CA_FILE": file, "KAFKA_SECURITY_PROTOCOL": "SSL"})
    assert read_settings(Settings).kafka_ca_file == Path(file)


SECRETS = ("token", "kafka_sasl_password", "mqtt_password", "signing_key")


@pytest.mark.parametrize("place", ["environment", "folder"])
def test_no_secret_is_in_an_error_a_traceback_or_a_repr(monkeypatch, tmp_path: Path, place: str):
    """Whatever else is wrong beside them, and where one of them itself is: a token can't hold a space."""
    for name in SECRETS:
        if place == "environment":
            monkeypatch.setenv(f"DRIFTLINE_{name}".upper(), SECRET)
        else:
            (tmp_path / f"driftline_{name}").write_text(f"{SECRET}\n")
            monkeypatch.setenv("DRIFTLINE_SECRETS", str(tmp_path))
    monkeypatch.setenv("DRIFTLINE_PARTITIONS", "none")
    for kind in KINDS:
        with pytest.raises(InvalidInput) as refused:
            read_settings(kind)
        assert "DRIFTLINE_TOKEN: found a secret that is not shown: expected printable ASCII" in str(refused.value)
        assert "DRIFTLINE_PARTITIONS: found 'none'" in str(refused.value)
        for shown in (str(refused.value), "".join(traceback.format_exception(refused.value))):
            assert SECRET not in shown
    if place == "environment":
        monkeypatch.setenv("DRIFTLINE_TOKEN", SECRET.replace(" ", ""))
    else:
        (tmp_path / "driftline_token").write_text(SECRET.replace(" ", ""))
    monkeypatch.setenv("DRIFTLINE_PARTITIONS", "1")
    for kind in KINDS:
        with pytest.raises(InvalidInput) as refused:
            read_settings(kind)
        assert SECRET not in "".join(traceback.format_exception(refused.value))
    set_all(monkeypatch, {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "me", "MQTT_HOST": "broker"})
    for kind in KINDS:
        settings = read_settings(kind)
        assert settings.kafka_sasl_password.get_secret_value() == SECRET
        for shown in (repr(settings), str(settings), settings.model_dump_json(), "".join(settings.doubts())):
            assert "hush" not in shown


@pytest.mark.parametrize("token", [" ", "two words", "tab\there", "naïve", "line\nbreak"])
def test_a_token_that_no_header_can_hold_is_refused(monkeypatch, token: str):
    monkeypatch.setenv("DRIFTLINE_TOKEN", token)
    with pytest.raises(InvalidInput, match="DRIFTLINE_TOKEN: found a secret that is not shown: expected printable"):
        read_settings(Settings)


def test_a_secret_that_is_no_text_is_named_and_not_shown(monkeypatch, tmp_path: Path):
    (tmp_path / "driftline_token").write_bytes(b"hush\xff\xfe")
    monkeypatch.setenv("DRIFTLINE_SECRETS", str(tmp_path))
    with pytest.raises(InvalidInput, match="expected files of text that can be read") as refused:
        read_settings(Settings)
    assert "hush" not in "".join(traceback.format_exception(refused.value))


def test_a_slip_of_the_pen_is_told_with_the_name_that_was_meant(monkeypatch, tmp_path: Path):
    set_all(monkeypatch, {"BROKER": "kafka:9092", "COLOUR": "blue", "SECRETS": str(tmp_path), "TRAINER": "http://t:1"})
    (tmp_path / "driftline_tokens").write_text("hush")
    doubts = list(read_settings(IngestSettings).doubts())
    assert doubts == [
        "DRIFTLINE_BROKER is passed over: did you mean DRIFTLINE_BROKERS?",
        "DRIFTLINE_COLOUR is passed over: it is none of Driftline's settings",
        "driftline_tokens is passed over: did you mean DRIFTLINE_TOKEN?",
    ]


def test_a_password_that_leaves_the_machine_unencrypted_is_told(monkeypatch):
    set_all(monkeypatch, {"MQTT_HOST": "broker.example", "MQTT_USERNAME": "me", "MQTT_PASSWORD": "hush"})
    (doubt,) = read_settings(IngestSettings).doubts()
    assert doubt.startswith("DRIFTLINE_MQTT_PASSWORD goes to broker.example in the clear")
    set_all(monkeypatch, {"MQTT_TLS": "true"})
    assert list(read_settings(IngestSettings).doubts()) == []


def test_the_list_of_the_services_variables_is_whole():
    own = {name for kind in (*KINDS, EdgeSettings) for name in kind.model_fields} - set(Settings.model_fields)
    assert {f"DRIFTLINE_{name}".upper() for name in own} == OF_SERVICES
