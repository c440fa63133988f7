"""What is watched exists: rules and dashboards name metrics of the catalogue only, and alerts have their section."""

import importlib.util
import re
import shutil
import subprocess
import time
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase

from driftline.metrics import EXPORTED, FLEET, Metrics
from driftline_combiner.exporter import ScoreExporter
from driftline_trainer.fleet.book import FleetBook
from driftline_trainer.fleet.exporter import FleetExporter
from tests.conftest import ROOT

PROMETHEUS = ROOT / "observe" / "prometheus"
FOREIGN = {"up"}


BOUNDED = {
    *("stream", "group", "topic", "partition", "member", "version", "reason", "kind", "operation", "outcome"),
    *("horizon", "row", "key"),
    *("state", "edge", "name", "sink"),
}
"""Labels whose values are few: `version` is that of what serves, `key` is `all` unless single ones are, `edge`
and `name` are those of the one edge that this is, or of as many as are configured."""
UNITS = ("_seconds", "_bytes", "_messages", "_info", "_fds", "_ratio")
UNITLESS = {
    *("driftline_series", "driftline_guarded"),
    *("driftline_streams", "driftline_streams_refused", "driftline_keys", "driftline_keys_limit"),
    *(
        "driftline_backlog_windows",
        "driftline_windows_foreign",
        "driftline_connections",
        "driftline_period_contradicted",
        "driftline_sink_failing",
    ),
    *("driftline_windows_small", "driftline_fleet_edges", "driftline_fleet_cloned_edges"),
    *("driftline_rollout_stage", "driftline_rollout_paused", "driftline_rollout_undecided"),
    *("driftline_fleet_version_compared_edges", "driftline_fleet_version_worse_edges"),
}
ASKED_FOR = {
    *("driftline_records", "driftline_records_refused", "driftline_dead_letters", "driftline_lag_messages"),
    *("driftline_stage_latency_seconds", "driftline_sensor_latency_seconds", "driftline_model_info"),
    *("driftline_model_swaps", "driftline_models_refused", "driftline_rmse", "driftline_weight_ratio"),
    *("driftline_skill_ratio", "driftline_last_record_timestamp_seconds", "driftline_stream_period_seconds"),
    *("driftline_coverage_ratio", "driftline_alerts", "driftline_training_jobs", "driftline_training_seconds"),
    *("driftline_store_seconds", "process_resident_memory_bytes"),
}
promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not here: Debian's package prometheus has it"
)


def families() -> list[Metric]:
    metrics = Metrics()
    metrics.registry.register(ScoreExporter({}, by_key=False))
    metrics.registry.register(FleetExporter(FleetBook(1, 0.0), time.time, 1))
    return list(metrics.registry.collect())


def catalogue() -> set[str]:
    """Every name that a service can have at /metrics, and what is recorded."""
    names = set()
    for family in families():
        names |= {family.name, *(f"{family.name}{end}" for end in ("_total", "_bucket", "_count", "_sum"))}
    return names | {rule["record"] for rule in rules() if "record" in rule}


def labels(metrics: Metrics) -> dict[str, set[str]]:
    found = {
        each._name: set(each._labelnames) for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)
    }
    return found | {f"driftline_{told.name}": set(told.labels) for told in (*EXPORTED, *FLEET)}


def rule_tests() -> list[dict[str, Any]]:
    return yaml.safe_load((PROMETHEUS / "rules.test.yaml").read_text())["tests"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboards() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("dashboards", ROOT / "scripts" / "dashboards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.dashboards()


def named(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:(?:driftline|process)[_:][a-z0-9_:]+|up)\b", expression))


def test_the_catalogue_has_all_that_is_asked_for():
    assert {family.name for family in families()} >= ASKED_FOR


def test_every_metric_says_what_it_is_and_in_which_unit():
    assert len(families()) >= len(ASKED_FOR)
    for family in families():
        assert family.documentation.endswith("."), family.name
        if family.type in {"gauge", "histogram"} and family.name not in UNITLESS:
            assert family.name.endswith(UNITS) or "unit" in family.documentation, family.name


def test_labels_have_few_values():
    assert len(labels(Metrics())) > 20
    for name, found in labels(Metrics()).items():
        assert found <= BOUNDED, name


@promtool
def test_the_names_are_as_prometheus_wants_them():
    metrics = Metrics()
    metrics.registry.register(ScoreExporter({}, by_key=False))
    metrics.registry.register(FleetExporter(FleetBook(1, 0.0), time.time, 1))
    text = generate_latest(metrics.registry).decode()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_name_only_metrics_that_there_are():
    assert rules()
    for rule in rules():
        assert named(rule["expr"]) <= catalogue() | FOREIGN, rule


def test_dashboards_name_only_metrics_that_there_are():
    assert dashboards()
    for text in dashboards().values():
        expressions = re.findall(r'"expr": "(.*)"', text)
        assert expressions
        for expression in expressions:
            assert named(expression), expression
            assert named(expression) <= catalogue() | FOREIGN, expression


def test_the_dashboards_are_as_their_script_makes_them():
    for name, text in dashboards().items():
        assert (ROOT / "observe" / "grafana" / "dashboards" / name).read_text() == text, "run scripts/dashboards.py"


def test_every_alert_has_its_section_in_the_runbook():
    sections = {
        line[3:].lower() for line in (ROOT / "docs" / "runbook.md").read_text().splitlines() if line[:3] == "## "
    }
    alerts = [rule for rule in rules() if "alert" in rule]
    assert sections == {rule["alert"].lower() for rule in alerts}
    assert all(rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}" for rule in alerts)


def test_every_alert_is_seen_to_fire_in_a_test():
    checks = [check for test in rule_tests() for check in test.get("alert_rule_test", ())]
    assert {check["alertname"] for check in checks if check.get("exp_alerts")} == {
        rule["alert"] for rule in rules() if "alert" in rule
    }


def test_everything_recorded_has_a_test():
    checks = [check for test in rule_tests() for check in test.get("promql_expr_test", ())]
    assert {check["expr"] for check in checks} == {rule["record"] for rule in rules() if "record" in rule}


@promtool
def test_the_rules_do_what_their_own_tests_say():
    done = subprocess.run(
        ["promtool", "test", "rules", str(PROMETHEUS / "rules.test.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_dashboard_reaches_a_grafana_on_kubernetes():
    given = yaml.safe_load((ROOT / "observe" / "grafana" / "kustomization.yaml").read_text())
    (generator,) = given["configMapGenerator"]
    assert generator["files"] == [f"dashboards/{name}" for name in sorted(dashboards())]
    assert given["generatorOptions"]["labels"] == {"grafana_dashboard": "1"}
