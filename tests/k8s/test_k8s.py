"""The overlays render, are valid to the letter, and what runs in them may do no more than it must."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from driftline.errors import Unavailable
from driftline_cli.stack import SERVICES
from tests.conftest import ROOT
from tests.golang import go_program

KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1"
VERSION = "1.31"
OVERLAYS = {
    "edge-centric": {*SERVICES, "kafka", "store"},
    "cloud-centric": {*SERVICES, "kafka", "store"},
    "edge": {"ingest", "inference", "combiner", "kafka"},
    "cloud": {"trainer", "store"},
}


@pytest.fixture(scope="session")
def kustomize() -> str:
    try:
        return go_program("kustomize", KUSTOMIZE)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(params=OVERLAYS)
def overlay(request, kustomize: str, tmp_path: Path) -> tuple[str, Path, list[dict[str, Any]]]:
    rendered = subprocess.run(
        [kustomize, "build", str(ROOT / "k8s" / "overlays" / request.param)], capture_output=True, text=True, check=True
    ).stdout
    path = tmp_path / "rendered.yaml"
    path.write_text(rendered)
    return request.param, path, list(yaml.safe_load_all(rendered))


def workloads(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in found if each["kind"] in {"Deployment", "StatefulSet"}}


def test_it_is_valid_and_has_its_parts(overlay):
    name, path, found = overlay
    assert set(workloads(found)) == OVERLAYS[name]
    command = [str(ROOT / ".venv" / "bin" / "kubernetes-validate"), "--strict", "-k", VERSION, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_pod_is_restricted_bounded_and_probed(overlay):
    for workload in workloads(overlay[2]).values():
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            context = container["securityContext"]
            assert (context["allowPrivilegeEscalation"], context["capabilities"]) == (False, {"drop": ["ALL"]})
            assert "memory" in container["resources"]["limits"]
            assert {"livenessProbe", "readinessProbe"} <= set(container)


def test_nothing_may_come_in_but_what_is_named(overlay):
    name, _, found = overlay
    policies = {each["metadata"]["name"] for each in found if each["kind"] == "NetworkPolicy"}
    assert OVERLAYS[name] <= policies
    if name != "cloud":
        assert "nothing-by-default" in policies


def test_no_secret_is_in_what_is_applied(overlay):
    assert not [each for each in overlay[2] if each["kind"] == "Secret"]
