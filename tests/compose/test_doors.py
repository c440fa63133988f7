"""Each door is opened by one setting, in the compose files and on Kubernetes."""

from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from driftline_ingest.settings import IngestSettings
from tests.conftest import ROOT

DOORS = ("mqtt_", "source_")


def is_secret(name: str) -> bool:
    return SecretStr.__name__ in repr(IngestSettings.model_fields[name])


@pytest.mark.parametrize("service", ["ingest", "edge"])
def test_compose_passes_every_setting_of_a_door_on_but_no_secret(service: str):
    parts: dict[str, Any] = yaml.safe_load((ROOT / "compose" / "parts.yaml").read_text())
    passed = parts["services"][service]["environment"]
    of_doors = [name for name in IngestSettings.model_fields if name.startswith(DOORS)]
    assert {name for name in of_doors if f"DRIFTLINE_{name}".upper() not in passed} == {
        name for name in of_doors if is_secret(name)
    }
    for name in (name for name in of_doors if not is_secret(name)):
        assert f"${{DRIFTLINE_{name.upper()}:-" in passed[f"DRIFTLINE_{name}".upper()]


def test_empty_settings_are_the_defaults(monkeypatch: pytest.MonkeyPatch):
    for name in (name for name in IngestSettings.model_fields if name.startswith(DOORS)):
        monkeypatch.setenv(f"DRIFTLINE_{name}".upper(), "")
    usual = IngestSettings.model_fields
    settings = IngestSettings()
    assert (settings.mqtt_host, settings.mqtt_version, settings.source_brokers) == (None, "5", None)
    assert settings.mqtt_port == usual["mqtt_port"].default


def test_on_kubernetes_ingest_has_every_setting_of_the_config_map():
    documents = yaml.safe_load_all((ROOT / "k8s" / "base" / "ingest.yaml").read_text())
    (deployment,) = (document for document in documents if document["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": "driftline"}}]
