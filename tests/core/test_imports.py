"""A service imports nothing to begin that only some settings or some later work needs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.process
LATER = {"aiobotocore", "botocore", "pyarrow", "pandas", "scipy", "tensorflow", "keras", "matplotlib", "typer"}
CLIENTS = {"aiokafka", "aiomqtt", "psycopg", "opentelemetry.sdk", "cryptography.x509"}
NEEDED = {"trainer": {"pyarrow"}}
"""What a service can't begin without: the trainer's index of day files is tables."""
IMPORTED = """
import gc, json, sys
walks = []
gc.callbacks.append(lambda phase, _: walks.append(phase))
import driftline_{service}.__main__
print(json.dumps([len(walks), gc.isenabled(), *sys.modules]))
"""
CREATED = """
import json, sys
from driftline_edge.__main__ import create_services, open_edge_bus, read_all
settings = read_all()
services = create_services(settings, open_edge_bus(settings.edge))
print(json.dumps([len(services), *sys.modules]))
"""


def said(code: str, **environment: str) -> list[Any]:
    """What the code prints in a process of its own, without settings but these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTLINE_")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=inherited | environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    answer: list[Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("service", ["ingest", "inference", "combiner", "trainer", "edge"])
def test_to_import_a_service_imports_no_client_and_walks_for_no_cycles(service: str):
    walks, collects, *modules = said(IMPORTED.format(service=service))
    assert set(modules) & (LATER | CLIENTS) == NEEDED.get(service, set())
    # A walk is two calls, of few objects before and behind the imports; among them they were 143 walks.
    assert collects
    assert walks <= 40, f"{walks // 2} walks for cycles"


def test_an_edge_with_a_bus_of_its_own_creates_its_services_without_a_client_of_a_broker(tmp_path: Path):
    count, *modules = said(
        CREATED, DRIFTLINE_DATA=str(tmp_path), DRIFTLINE_STREAMS=str(ROOT / "streams"), DRIFTLINE_BUS="embedded"
    )
    assert count == 3
    assert set(modules) & (LATER | CLIENTS) == set()
