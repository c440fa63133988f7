"""`driftline doctor` and `tail`, typed as a person types them, against a real Kafka and a store in a folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.messages import ALERTS, Alert, Topic, state_topic
from driftline_cli import tailing
from driftline_cli.broker import free_port
from tests.conftest import ROOT

pytestmark = pytest.mark.process


def driftline(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "driftline_cli", *command],
        env=os.environ | {"COLUMNS": "200"} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def nobody() -> list[str]:
    """No services listen there."""
    return [f"--{name}=http://127.0.0.1:{free_port()}" for name in ("ingest", "inference", "combiner", "trainer")]


def test_without_a_broker_it_says_what_to_do(tmp_path: Path):
    done = driftline(
        "doctor", *nobody(), DRIFTLINE_BROKERS=f"127.0.0.1:{free_port()}", DRIFTLINE_STORE=str(tmp_path / "store")
    )
    assert done.returncode == 1
    assert "DRIFTLINE_BROKERS" in done.stdout
    assert "are kept" in done.stdout
    assert "does not answer: All connection attempts failed" in done.stdout
    assert "KafkaConnectionError" not in done.stdout


def test_programs_read_what_it_found(tmp_path: Path):
    away = f"127.0.0.1:{free_port()}"
    done = driftline(
        "doctor", "--json", *nobody(), DRIFTLINE_BROKERS=away, DRIFTLINE_STORE=str(tmp_path / "store"), COLUMNS="20"
    )
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 1
    assert (found["store"]["fine"], found["broker"]["fine"]) == (True, False)
    assert found["broker"]["found"] == f"{away}: the broker does not answer"
    assert "DRIFTLINE_BROKERS" in found["broker"]["remedy"]


@pytest.mark.kafka
def test_it_makes_topics_that_are_missing(brokers: str, tmp_path: Path):
    places = {"DRIFTLINE_BROKERS": brokers, "DRIFTLINE_STORE": str(tmp_path / "store")}
    fixed = driftline("doctor", "--fix", *nobody(), **places)
    assert "is not there" not in fixed.stdout
    assert "driftline.blends.v1" in fixed.stdout
    assert "4 partitions, kept 168 h, at most 1,050 MB" in fixed.stdout
    smaller = driftline("doctor", *nobody(), DRIFTLINE_DISK="3000000000", **places)
    assert "retention.bytes is 225000000, not 112500000" in smaller.stdout
    wrong = driftline("doctor", *nobody(), DRIFTLINE_PARTITIONS="7", **places)
    assert "set DRIFTLINE_PARTITIONS to 4" in wrong.stdout


@pytest.mark.kafka
async def test_tail_prints_what_is_there(brokers: str):
    bus = KafkaBus(KafkaSettings(brokers))
    await bus.publish(ALERTS, [Alert("tail-test", "k", 1_767_225_600_000, "drift", "y", "y has moved")])
    await bus.close()
    command = ("tail", "alerts", "--stream", "tail-test", "--earliest", "--limit", "1")
    plain = driftline(*command, DRIFTLINE_BROKERS=brokers)
    assert plain.stdout.strip() == "2026-01-01T00:00:00Z tail-test/k drift y: y has moved"
    found = json.loads(driftline(*command, "--json", DRIFTLINE_BROKERS=brokers).stdout)
    assert found["kind"] == "drift"
    by_file = ROOT / "streams" / "active-power.yaml"
    typed = ("tail", "alerts", "--stream", str(by_file), "--earliest", "--limit", "1")
    bus = KafkaBus(KafkaSettings(brokers))
    await bus.publish(ALERTS, [Alert("active-power", "k", 1_767_225_600_000, "drift", "y", "y has moved")])
    await bus.close()
    assert "active-power/k" in driftline(*typed, DRIFTLINE_BROKERS=brokers).stdout


@pytest.mark.kafka
async def test_a_topic_without_messages_is_known_to_be_empty(brokers: str):
    bus = KafkaBus(KafkaSettings(brokers))
    topic = Topic("tail-test.alerts", Alert, lambda alert: alert.key)
    await bus.topics.make([topic.name])
    assert await tailing.is_empty(bus, topic)
    await bus.publish(topic, [Alert("tail-test", "k", 1_767_225_600_000, "drift", "y", "y has moved")])
    assert not await tailing.is_empty(bus, topic)
    await bus.close()


@pytest.mark.kafka
async def test_a_topic_that_is_kept_in_another_way_is_told_and_set(brokers: str, tmp_path: Path):
    places = {"DRIFTLINE_BROKERS": brokers, "DRIFTLINE_STORE": str(tmp_path / "store")}
    states = state_topic("combiner")
    bus = KafkaBus(KafkaSettings(brokers))
    await bus.topics.make([states, ALERTS.name])
    await bus.topics.configure(states, {"cleanup.policy": "delete"})
    await bus.topics.configure(ALERTS.name, {"retention.ms": "1000"})
    told = driftline("doctor", *nobody(), **places).stdout
    assert "cleanup.policy is delete, not compact" in told
    assert "messages are kept for 1 s only" in told
    assert "cleanup.policy is delete" not in driftline("doctor", "--fix", *nobody(), **places).stdout
    assert (await bus.topics.configs([states]))[states]["cleanup.policy"] == "compact"
    assert (await bus.topics.configs([states]))[states]["segment.ms"] == "600000", "what was set before stays"
    await bus.topics.configure(ALERTS.name, {"retention.ms": "604800000"})
    await bus.close()
