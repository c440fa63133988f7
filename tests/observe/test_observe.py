"""What is watched exists: rules and dashboards name metrics of the catalogue only, and alerts have their section."""

import importlib.util
import re
import shutil
import subprocess

import pytest
import yaml

from driftline.metrics import Metrics
from driftline_combiner.telling import LaneMetrics
from tests.conftest import ROOT

PROMETHEUS = ROOT / "observe" / "prometheus"
FOREIGN = {"up"}


def catalogue() -> set[str]:
    """Every name that a service can have at /metrics, and what is recorded."""
    metrics = Metrics()
    metrics.registry.register(LaneMetrics({}, by_key=False))
    names = set()
    for family in metrics.registry.collect():
        names |= {family.name, *(f"{family.name}{end}" for end in ("_total", "_bucket", "_count", "_sum"))}
    return names | {rule["record"] for rule in rules() if "record" in rule}


def rules() -> list[dict[str, str]]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboards() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("dashboards", ROOT / "scripts" / "dashboards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.dashboards()


def named(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:driftline[_:][a-z0-9_:]+|up)\b", expression))


def test_rules_name_only_metrics_that_there_are():
    for rule in rules():
        assert named(rule["expr"]) <= catalogue() | FOREIGN, rule


def test_dashboards_name_only_metrics_that_there_are():
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
    assert all(rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}" for rule in alerts)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here: Debian's package prometheus has it")
def test_the_rules_do_what_their_own_tests_say():
    done = subprocess.run(
        ["promtool", "test", "rules", str(PROMETHEUS / "rules.test.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
