"""The overlays render, are valid to the letter, and what runs in them may do no more than it must."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from driftline.errors import Unavailable
from driftline.messages import FORECASTS, RECORDS
from driftline.names import COMBINER_GROUP as COMBINER
from driftline.names import INFERENCE_GROUP as INFERENCE
from driftline.names import SERVICES
from tests.compose.images import REGISTRY
from tests.conftest import ROOT
from tests.golang import go_program, is_kept
from tests.k8s.chart import KUSTOMIZE, render, rendered_path

HELM = "helm.sh/helm/v3/cmd/helm@v3.20.2"
CHART = ROOT / "helm" / "driftline"
VERSION = "1.31"
OF_CLUSTER = f"--kube-version={VERSION}.0"
OVERLAYS = {
    "edge-centric": {*SERVICES, "kafka", "store"},
    "cloud-centric": {*SERVICES, "kafka", "store"},
    "edge": {"ingest", "inference", "combiner", "kafka"},
    "cloud": {"trainer", "store"},
}
OPENED = {"cloud": {"edges"}, "cloud-centric": {"keda"}}
"""Policies that let others in, by overlay: the edges by an ingress, KEDA to Kafka."""


@pytest.fixture(scope="session")
def kustomize() -> str:
    try:
        return go_program("kustomize", KUSTOMIZE)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def helm() -> str:
    if "DRIFTLINE_HELM" not in os.environ and not is_kept("helm"):
        pytest.skip("needs helm: make helm-test")
    try:
        return go_program("helm", HELM)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(
    scope="session", params=[(tool, name) for tool in ("kustomize", "helm") for name in OVERLAYS], ids="-".join
)
def overlay(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, list[dict[str, Any]]]:
    """An overlay by name, as kustomize or as the Helm chart renders it."""
    tool, name = request.param
    program = request.getfixturevalue(tool)
    rendered = render(program, name) if tool == "kustomize" else template(program, f"--set=deployment={name}")
    path = tmp_path_factory.mktemp(name) / "rendered.yaml"
    path.write_text(rendered)
    return name, path, list(yaml.safe_load_all(rendered))


def template(helm: str, *flags: str) -> str:
    """What the chart makes in the namespace `driftline`."""
    command = [helm, "template", "driftline", str(CHART), OF_CLUSTER, "--namespace=driftline", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def workloads(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in found if each["kind"] in {"Deployment", "StatefulSet"}}


def of_kind(found: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


def test_it_is_valid_and_has_its_parts(overlay):
    name, path, found = overlay
    assert set(workloads(found)) == OVERLAYS[name]
    command = [str(Path(sys.prefix) / "bin" / "kubernetes-validate"), "--strict", "-k", VERSION, str(path)]
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
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
            assert {"livenessProbe", "readinessProbe"} <= set(container)


def test_our_images_are_named_in_full(overlay):
    """So that nobody's namespace on Docker Hub is asked for them."""
    images = {
        container["image"]
        for name, workload in workloads(overlay[2]).items()
        if name in SERVICES
        for container in workload["spec"]["template"]["spec"]["containers"]
    }
    assert images == {f"{REGISTRY}/{name}:{version('driftline')}" for name in OVERLAYS[overlay[0]] & set(SERVICES)}


def test_every_service_may_be_evicted_one_at_a_time(overlay):
    name, _, found = overlay
    assert set(of_kind(found, "PodDisruptionBudget")) == OVERLAYS[name] & set(SERVICES)
    for budget in of_kind(found, "PodDisruptionBudget").values():
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": budget["metadata"]["name"]}


def test_every_service_is_scaled_by_its_processor_and_by_one_autoscaler_alone(overlay):
    """But for a trainer on the edge's one node, where there is no room for two."""
    name, _, found = overlay
    by_cpu = of_kind(found, "HorizontalPodAutoscaler")
    by_lag = of_kind(found, "ScaledObject")
    assert set(by_lag) == ({"inference", "combiner"} if name == "cloud-centric" else set())
    assert not set(by_cpu) & set(by_lag)
    assert set(by_cpu) | set(by_lag) == (OVERLAYS[name] & set(SERVICES)) - (
        {"trainer"} if name[:4] == "edge" else set()
    )
    for each in (*by_cpu.values(), *by_lag.values()):
        assert each["spec"]["scaleTargetRef"]["name"] == each["metadata"]["name"]
    for each in by_cpu.values():
        assert [metric["resource"]["name"] for metric in each["spec"]["metrics"]] == ["cpu"]


def test_what_scales_by_lag_asks_for_the_groups_and_topics_that_there_are(overlay):
    expected = {"inference": (INFERENCE, RECORDS.name), "combiner": (COMBINER, FORECASTS.name)}
    (config,) = [each for name, each in of_kind(overlay[2], "ConfigMap").items() if name.startswith("driftline-")]
    for name, each in of_kind(overlay[2], "ScaledObject").items():
        triggers = {trigger["type"]: trigger["metadata"] for trigger in each["spec"]["triggers"]}
        assert set(triggers) == {"kafka", "cpu"}
        assert (triggers["kafka"]["consumerGroup"], triggers["kafka"]["topic"]) == expected[name]
        assert each["spec"]["maxReplicaCount"] == int(config["data"]["DRIFTLINE_PARTITIONS"])


def test_kafka_is_called_by_a_name_that_other_namespaces_know(overlay):
    """What it advertises is what its clients go to, KEDA among them."""
    kafka = workloads(overlay[2]).get("kafka")
    if kafka is not None:
        settings = {each["name"]: each["value"] for each in kafka["spec"]["template"]["spec"]["containers"][0]["env"]}
        namespace = kafka["metadata"]["namespace"]
        assert settings["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://kafka.{namespace}.svc:9092"


def test_nothing_may_come_in_but_what_is_named(overlay):
    name, _, found = overlay
    assert set(of_kind(found, "NetworkPolicy")) == OVERLAYS[name] | {"nothing-by-default"} | OPENED.get(name, set())
    everyone = of_kind(found, "NetworkPolicy")["nothing-by-default"]["spec"]
    assert everyone == {"podSelector": {}, "policyTypes": ["Ingress"]}


def test_no_secret_is_in_what_is_applied(overlay):
    assert not [each for each in overlay[2] if each["kind"] == "Secret"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_chart_holds_what_kustomize_renders(kustomize: str, name: str):
    assert rendered_path(name).read_text() == render(kustomize, name), "expected what `make helm` writes"


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_chart_changes_nothing_that_nobody_asked_for(helm: str, name: str):
    by_chart = list(yaml.safe_load_all(template(helm, f"--set=deployment={name}")))
    for workload in workloads(by_chart).values():
        annotations = workload["spec"]["template"]["metadata"]["annotations"]
        del annotations["driftline/settings"]
        if not annotations:
            del workload["spec"]["template"]["metadata"]["annotations"]
    by_kustomize = list(yaml.safe_load_all(rendered_path(name).read_text()))
    assert by_name(by_chart) == by_name([each for each in by_kustomize if each["kind"] != "Namespace"])


def by_name(found: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def test_the_chart_s_values_reach_what_they_name(helm: str):
    found = list(
        yaml.safe_load_all(
            template(
                helm,
                "--namespace=north",
                "--set=image.registry=ghcr.io/you/driftline,image.tag=9.9.9",
                "--set-string=settings.DRIFTLINE_STORE_POLL=60",
                "--set=workloads.inference.replicas=3,workloads.inference.resources.limits.memory=1Gi",
                "--set=workloads.inference.env.DRIFTLINE_LABELS=site=north",
            )
        )
    )
    inference = workloads(found)["inference"]
    (container,) = inference["spec"]["template"]["spec"]["containers"]
    assert {each["metadata"]["namespace"] for each in found} == {"north"}
    assert container["image"] == "ghcr.io/you/driftline/inference:9.9.9"
    assert inference["spec"]["replicas"] == 3
    assert container["resources"]["limits"]["memory"] == "1Gi"
    assert container["resources"]["requests"]["cpu"], "what was not named stays"
    assert {"name": "DRIFTLINE_LABELS", "value": "site=north"} in container["env"]
    (settings,) = [each for name, each in of_kind(found, "ConfigMap").items() if name.startswith("driftline-")]
    assert settings["data"]["DRIFTLINE_STORE_POLL"] == "60"
    kafka = workloads(found)["kafka"]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "KAFKA_ADVERTISED_LISTENERS", "value": "PLAINTEXT://kafka.north.svc:9092"} in kafka


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--set=deployment=moon", "deployment"),
        ("--set=workloads.inferense.replicas=2", 'found "inferense", expected some of'),
        ("--set=setings.A=b", "setings"),
        ("--set=settings.DRIFTLINE_STORE_POLL=60", "settings"),
    ],
)
def test_values_that_mean_nothing_are_refused(helm: str, flag: str, said: str):
    command = [helm, "template", "driftline", str(CHART), OF_CLUSTER, flag]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in done.stderr


def test_the_chart_is_of_this_release_and_lints(helm: str):
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version("driftline"), version("driftline"))
    done = subprocess.run(
        [helm, "lint", "--strict", OF_CLUSTER, str(CHART)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
