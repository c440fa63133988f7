"""docs/security.md switches named tokens on, typed as it is: with the compose files and on Kubernetes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from driftline.errors import Unavailable
from driftline.names import SERVICES
from driftline.service.access import token_file
from driftline.service.access.roles import Role
from driftline.service.access.token_file import TokenFile
from tests.conftest import ROOT
from tests.docs.markdown import tokens
from tests.golang import go_program
from tests.k8s.chart import KUSTOMIZE

pytestmark = pytest.mark.process

PAGE = ROOT / "docs" / "security.md"
VIEWER, OPERATOR = ("prometheus", "viewer"), ("ada", "operator")
SHADOWED = ("docker", "kubectl", "helm", "sudo")
"""Programs that would change a machine or a cluster: they only write down how they are called."""
OVERLAYS = {
    "edge-centric": set(SERVICES),
    "cloud-centric": set(SERVICES),
    "edge": {*SERVICES} - {"trainer"},
    "cloud": {"trainer"},
}


def steps(having: str) -> str:
    """The page's only block of commands with that text."""
    blocks = [token.content for token in tokens(PAGE) if token.type == "fence" and token.info == "sh"]
    (block,) = [block for block in blocks if having in block]
    return block


@pytest.fixture
def typed(tmp_path: Path) -> Any:
    """Types commands in a folder with the repository's compose files and manifests; returns what was called."""
    programs, calls = tmp_path / "programs", tmp_path / "calls"
    programs.mkdir()
    for name in SHADOWED:
        put_program(programs / name, f'echo "{name} $*" >> "{calls}"')
    put_program(programs / "driftline", f'exec "{sys.executable}" -m driftline_cli "$@"')
    (tmp_path / "compose").mkdir()
    shutil.copy(ROOT / "compose" / ".env.example", tmp_path / "compose")
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")

    def run(commands: str) -> list[str]:
        calls.write_text("")
        environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=tmp_path, env=environment, check=True)
        return calls.read_text().splitlines()

    return run


def put_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def named(file: Path) -> set[tuple[str, str]]:
    return {(token.name, token.role) for token in token_file.read(file).tokens}


async def test_with_the_compose_files(typed: Any, tmp_path: Path):
    called = typed(steps("DRIFTLINE_ACCESS"))
    access = tmp_path / "compose" / "access"
    assert named(access / "tokens.yaml") == {OPERATOR, VIEWER}
    assert (access / "tokens.yaml").stat().st_mode & 0o777 == 0o644
    prometheus = await TokenFile(access / "tokens.yaml").caller((access / "prometheus").read_text().strip())
    assert prometheus.role is Role.VIEWER
    settings = dict(
        line.split("=", 1) for line in (tmp_path / "compose" / ".env").read_text().splitlines() if "=" in line
    )
    assert (tmp_path / "compose" / settings["DRIFTLINE_ACCESS"]).is_dir()
    assert (tmp_path / "compose" / settings["PROMETHEUS_TOKEN"]).is_file()
    assert "DRIFTLINE_PARTITIONS" in settings, "what the example has is lost"
    assert called[-1] == "docker compose -f compose/edge-centric.yaml up -d --wait"


def test_the_variables_of_the_compose_files_lead_to_the_folder_and_to_prometheus():
    parts = yaml.safe_load((ROOT / "compose" / "parts.yaml").read_text())["services"]
    for name in (*SERVICES, "edge"):
        assert "${DRIFTLINE_ACCESS:-/dev/null}:/run/access:ro" in parts[name]["volumes"], name
        assert parts[name]["environment"]["DRIFTLINE_TOKENS_FILE"] == "${DRIFTLINE_ACCESS:+/run/access/tokens.yaml}"
    assert "${PROMETHEUS_TOKEN:-/dev/null}:/etc/prometheus/token:ro" in parts["prometheus"]["volumes"]


def test_on_kubernetes_the_secrets_are_made_of_the_files(typed: Any, tmp_path: Path):
    called = typed(steps("create secret generic driftline-access").replace("rm prometheus-token", ""))
    assert named(tmp_path / "tokens.yaml") == {OPERATOR, VIEWER}
    assert "\n" not in (tmp_path / "prometheus-token").read_text()
    assert called == [
        "kubectl -n driftline create secret generic driftline-access --from-file=tokens.yaml",
        "kubectl -n monitoring create secret generic driftline-prometheus --from-file=token=prometheus-token",
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_with_kustomize_every_service_reads_the_secret(typed: Any, tmp_path: Path, overlay: str):
    try:
        kustomize = go_program("kustomize", KUSTOMIZE)
    except Unavailable as error:
        pytest.skip(str(error))
    called = typed(steps("kubectl apply -k").replace("edge-centric", overlay))
    assert called == [f"kubectl apply -k k8s/overlays/{overlay}"]
    command = [kustomize, "build", str(tmp_path / "k8s" / "overlays" / overlay)]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    objects = list(yaml.safe_load_all(rendered))
    files = {o["metadata"]["name"]: o["data"].get("DRIFTLINE_TOKENS_FILE") for o in objects if o["kind"] == "ConfigMap"}
    pods = {o["metadata"]["name"]: o["spec"]["template"]["spec"] for o in objects if o["kind"] == "Deployment"}
    for name in OVERLAYS[overlay]:
        (container,) = pods[name]["containers"]
        maps = [source["configMapRef"]["name"] for source in container["envFrom"]]
        assert "/run/access/tokens.yaml" in [files[configured] for configured in maps], name
        assert {"name": "access", "mountPath": "/run/access", "readOnly": True} in container["volumeMounts"]
        (volume,) = [volume for volume in pods[name]["volumes"] if volume["name"] == "access"]
        assert volume["secret"]["secretName"] == "driftline-access"


def test_with_helm_one_value_gives_every_service_the_file(typed: Any):
    """The chart's tests show that `settings` reach every service."""
    (called,) = typed(steps("helm upgrade"))
    assert called.startswith("helm upgrade driftline helm/driftline --namespace driftline --reuse-values")
    assert called.endswith("--set-string settings.DRIFTLINE_TOKENS_FILE=/run/access/tokens.yaml")
    for overlay, names in OVERLAYS.items():
        for name in names:
            (container,) = rendered(overlay)[name]["spec"]["template"]["spec"]["containers"]
            assert "/run/access" in {mount["mountPath"] for mount in container["volumeMounts"]}, (overlay, name)


def test_the_pod_monitor_fits_the_pods():
    monitors = [yaml.safe_load(t.content) for t in tokens(PAGE) if t.type == "fence" and "PodMonitor" in t.content]
    (spec,) = [monitor["spec"] for monitor in monitors]
    (choice,), (endpoint,) = spec["selector"]["matchExpressions"], spec["podMetricsEndpoints"]
    assert set(choice["values"]) == set(SERVICES)
    for overlay, names in OVERLAYS.items():
        pods = {name: workload["spec"]["template"] for name, workload in rendered(overlay).items() if name in names}
        assert pods.keys() == names
        for name, pod in pods.items():
            assert pod["metadata"]["labels"][choice["key"]] == name
            assert endpoint["port"] in {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert endpoint["authorization"]["credentials"] == {"name": "driftline-prometheus", "key": "token"}


def rendered(overlay: str) -> dict[str, dict[str, Any]]:
    """By name what runs in the chart's objects."""
    text = (ROOT / "helm" / "driftline" / "rendered" / f"{overlay}.yaml").read_text()
    objects = yaml.load_all(text, Loader=yaml.CSafeLoader)
    return {o["metadata"]["name"]: o for o in objects if o["kind"] == "Deployment"}
