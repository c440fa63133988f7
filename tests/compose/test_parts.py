"""What all compose files hold to, whatever they are made of."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.compose.stack import NEEDS_ENGINE
from tests.conftest import ROOT

pytestmark = NEEDS_ENGINE

COMPOSE = ROOT / "compose"
FILES = ("edge-centric", "cloud-centric", "edge", "edge-embedded", "cloud")
OURS = {"ingest", "inference", "combiner", "trainer", "edge"}
ONCE = {"secrets", "topics", "cache", "bundle"}
"""They do a thing at the start and end."""
OPEN = {("caddy", "7443"), ("caddy", "8443")}
"""What the network may reach: TLS."""
PI_BYTES = 3_800 * 2**20
"""What a Pi of 4 GB has left for containers, less a little for the system."""


@pytest.fixture(scope="module", params=FILES)
def services(request) -> dict[str, dict[str, Any]]:
    """As `.env.example` has it, with everything that can be asked for."""
    found = subprocess.run(
        ["docker", "compose", "--env-file", ".env.example", "-f", f"{request.param}.yaml", "config", "--format=json"],
        cwd=COMPOSE,
        env=os.environ | {"COMPOSE_PROFILES": "grafana,bundle", "DRIFTLINE_CLOUD": "cloud.test"},
        check=True,
        capture_output=True,
    )
    return json.loads(found.stdout)["services"]


def test_the_services_answer_to_the_name_that_caddy_has(services: dict[str, dict[str, Any]]):
    for name in OURS & set(services):
        assert services[name]["environment"]["DRIFTLINE_HOSTS"] == "cloud.test"


def test_one_folder_gives_all_services_the_named_tokens(services: dict[str, dict[str, Any]]):
    """As it is, none: reading is as open as before."""
    for name in OURS & set(services):
        assert services[name]["environment"]["DRIFTLINE_TOKENS_FILE"] == ""
        assert "/run/access" in {volume["target"] for volume in services[name]["volumes"]}


def test_only_what_has_records_sends_traces_and_only_where_it_is_asked_for(services: dict[str, dict[str, Any]]):
    for name in OURS & set(services):
        endpoint = services[name]["environment"].get("OTEL_EXPORTER_OTLP_ENDPOINT")
        assert endpoint == (None if name == "trainer" else ""), name


def test_no_part_has_more_rights_than_it_needs(services: dict[str, dict[str, Any]]):
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
    for name in OURS & set(services):
        assert services[name]["user"] == "10001:10001"
        assert services[name]["read_only"]
        assert "cap_add" not in services[name]


def test_every_log_is_rotated_and_every_part_that_stays_comes_back(services: dict[str, dict[str, Any]]):
    for name, service in services.items():
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped"), name


def test_every_part_that_stays_has_limits_that_a_pi_can_hold(services: dict[str, dict[str, Any]]):
    stay = {name: service for name, service in services.items() if name not in ONCE}
    limits = {name: service["deploy"]["resources"]["limits"] for name, service in stay.items()}
    assert all(limit["cpus"] for limit in limits.values())
    assert sum(int(limit["memory"]) for limit in limits.values()) <= PI_BYTES


def test_only_tls_listens_beyond_the_machine(services: dict[str, dict[str, Any]]):
    ports = [(name, port) for name, service in services.items() for port in service.get("ports", [])]
    beyond = {(name, port["published"]) for name, port in ports if port.get("host_ip") != "127.0.0.1"}
    assert beyond <= OPEN


def test_every_image_is_of_a_version(services: dict[str, dict[str, Any]]):
    for service in services.values():
        assert re.search(r":v?\d+\.\d+", service["image"])


def test_no_secret_stands_in_the_environment(services: dict[str, dict[str, Any]]):
    for service in services.values():
        # A join token is good once, for a day.
        names = set(service.get("environment", {})) - {"DRIFTLINE_JOIN_TOKEN"}
        assert not {name for name in names if re.search("TOKEN|PASSWORD|SECRET_|SIGNING|ACCESS_KEY", name)}


def test_a_part_stands_in_one_place():
    """What a part is stands in parts.yaml; a deployment says which it takes, and what they wait for."""
    for name in (*FILES, "everything", "rest"):
        text = (COMPOSE / f"{name}.yaml").read_text()
        assert not re.findall(r"^ +(?:image|deploy|healthcheck|logging|cap_drop|user|restart):", text, re.MULTILINE)


def test_what_the_example_says_of_aws_reaches_the_services(tmp_path: Path):
    example = (COMPOSE / ".env.example").read_text()
    filled = tmp_path / "env"
    filled.write_text(re.sub(r"^#(?=[A-Z_]+=)", "", example, flags=re.MULTILINE))
    for name in ("edge-centric", "edge"):
        file = str(COMPOSE / f"{name}.yaml")
        command = ["docker", "compose", "--env-file", str(filled), "-f", file, "config", "--format=json"]
        services = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["services"]
        environment = services["inference"]["environment"]
        assert environment["DRIFTLINE_STORE"] == "s3://my-bucket"
        assert environment["DRIFTLINE_STORE_ENDPOINT"] == ""
        assert environment["DRIFTLINE_STORE_QUEUE"].endswith("driftline-device")
        assert environment["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"
        assert environment.get("AWS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt").startswith("/etc/ssl")


def test_an_edge_without_a_cloud_is_told_so_before_anything_starts(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "DRIFTLINE_CLOUD"}
    empty = tmp_path / "env"
    empty.touch()
    command = ["docker", "compose", "--env-file", str(empty), "-f", str(COMPOSE / "edge.yaml"), "config", "-q"]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "DRIFTLINE_CLOUD" in refused.stderr
    assert "expected the host name of the cloud" in refused.stderr
