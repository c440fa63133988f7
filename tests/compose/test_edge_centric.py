"""Everything on one machine, on a real engine: up from nothing, streamed through, killed part by part, restarted.

Run by `make compose-test`; published ports are those of 127.0.0.1.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import stamina

from driftline import tables
from driftline.definition import StreamDefinition, load
from driftline.tables import Rows
from driftline_cli.replay import chunks
from tests.conftest import ROOT
from tests.observe.test_observe import dashboards

pytestmark = pytest.mark.skipif("DRIFTLINE_COMPOSE" not in os.environ, reason="needs an engine: make compose-test")

FILE = ROOT / "compose" / "edge-centric.yaml"
PARTS = ("kafka", "store", "ingest", "inference", "combiner", "trainer", "prometheus", "alertmanager")
PORTS = {"ingest": 8001, "inference": 8002, "combiner": 8003, "trainer": 8004, "prometheus": 9090}
HISTORY, RECORDS, BATCH = 12_000, 5000, 500
NAME = "outdoor-temperature"


class Missing(Exception):
    """What is waited for is not there yet."""


def eventually(check: Callable[[], object], seconds: float = 120) -> object:
    for attempt in stamina.retry_context(
        on=(Missing, httpx.HTTPError), attempts=None, timeout=seconds, wait_initial=0.2, wait_max=1.0
    ):
        with attempt:
            return check()
    raise AssertionError


class Stack:
    """The deployment, as its user handles it."""

    def __init__(self, data: Path) -> None:
        self._environment = os.environ | {"COMPOSE_PROFILES": "", "DRIFTLINE_DATA": str(data)}
        self.sent = 0

    def compose(self, *command: str) -> str:
        done = subprocess.run(
            ["docker", "compose", "-f", str(FILE), *command],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def up(self) -> None:
        self.compose("up", "-d", "--wait", "--wait-timeout", "240")

    def token(self) -> str:
        return self.compose("exec", "-T", "ingest", "cat", "/run/driftline/driftline_token").strip()

    def get(self, service: str, path: str, **parameters: str) -> dict:
        answer = httpx.get(f"http://127.0.0.1:{PORTS[service]}{path}", timeout=10, params=parameters)
        answer.raise_for_status()
        return answer.json()

    def send(self, stream: StreamDefinition, rows: Rows, token: str) -> None:
        """Until ingest has taken everything: what it did not acknowledge is sent again, as a sensor would."""
        for part in chunks(rows, BATCH):
            lines = [row(stream, part, n) for n in range(len(part))]
            eventually(lambda lines=lines: self._post(lines, token))
            self.sent += len(part)

    def _post(self, lines: list[dict], token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"http://127.0.0.1:{PORTS['ingest']}/v1/records?stream={NAME}"
        answer = httpx.post(url, json=lines, headers=headers, timeout=30)
        if answer.status_code != 202:
            raise Missing(answer.text)

    def scored(self) -> int:
        """Truths that persistence was scored on, one step ahead."""
        (found,) = [each for each in self.get("combiner", "/v1/scores") if each["stream"] == NAME]
        return found["horizons"][0]["scores"]["persistence"]["n"]

    def all_scored(self, keys: int) -> None:
        """Every record but each key's first is a truth: none was lost, and none counted twice."""

        def check() -> None:
            if self.scored() != self.sent - keys:
                raise Missing(f"{self.scored()} of {self.sent - keys}")

        eventually(check)

    def version(self, member: str) -> str:
        models = self.get("inference", "/v1/models")["models"]
        found = [model["version"] for model in models if (model["stream"], model["member"]) == (NAME, member)]
        if not found or found[0] is None:
            raise Missing
        return found[0]


def row(stream: StreamDefinition, part: Rows, n: int) -> dict:
    values = [None if value != value else value for value in part.values[n].tolist()]  # noqa: PLR0124 - NaN
    time = in_words(int(part.t[n]))
    return {stream.time.column: time, stream.key: str(part.keys[n]), **dict(zip(stream.columns, values, strict=True))}


def in_words(t: int) -> str:
    return datetime.fromtimestamp(t / 1000, UTC).isoformat()


@pytest.fixture(scope="module")
def temperature() -> StreamDefinition:
    return load(ROOT / "streams" / f"{NAME}.yaml")


@pytest.fixture(scope="module")
def rows(temperature: StreamDefinition) -> Rows:
    found = tables.read_file(ROOT / "data" / "la-haute-borne.parquet", temperature)
    known = found.take(~(found.values[:, 0] != found.values[:, 0]))
    return tables.concatenate([series.take(slice(0, 6000)) for series in known.by_key().values()])


@pytest.fixture(scope="module")
def stack(tmp_path_factory, temperature: StreamDefinition, rows: Rows) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o755)
    begin = sorted(rows.t.tolist())[HISTORY]
    (data / "history.parquet").write_bytes(tables.encode(rows.take(rows.t < begin), temperature))
    (data / "history.parquet").chmod(0o644)
    running = Stack(data)
    try:
        running.up()
        yield running
    finally:
        running.compose("down", "-v", "--timeout", "5")


def test_from_nothing_to_blends_a_retraining_and_a_swap(stack: Stack, temperature, rows: Rows):
    token = stack.token()
    refused = httpx.post(f"http://127.0.0.1:{PORTS['ingest']}/v1/records?stream={NAME}", json=[])
    assert refused.status_code == 401
    asked = {"stream": NAME, "member": "batch", "history": "history.parquet"}
    url = f"http://127.0.0.1:{PORTS['trainer']}/v1/jobs"
    job = (
        httpx.post(url, json=asked, headers={"Authorization": f"Bearer {token}"}, timeout=10).raise_for_status().json()
    )

    def trained() -> dict:
        found = stack.get("trainer", f"/v1/jobs/{job['id']}")
        if found["state"] in {"queued", "running"}:
            raise Missing
        return found

    ended = eventually(trained, 240)
    assert ended["state"] == "published", ended["reason"]
    eventually(lambda: stack.version("batch"))
    begin = sorted(rows.t.tolist())[HISTORY]
    later = rows.take(rows.t >= begin)
    order = later.t.argsort(kind="stable")
    stack.send(temperature, later.take(order[:RECORDS]), token)
    stack.all_scored(4)

    def swapped() -> None:
        if stack.version("speed").startswith("v000001"):
            raise Missing

    eventually(swapped, 180)


def test_prometheus_has_data_for_every_dashboard_query(stack: Stack):
    empty: set[str] = set()

    def answered() -> None:
        empty.clear()
        for text in dashboards().values():
            for quoted in re.findall(r'"expr": (".*")', text):
                query = json.loads(quoted).replace("$stream", NAME).replace("$horizon", "1")
                found = stack.get("prometheus", "/api/v1/query", query=query)
                assert found["status"] == "success"
                if not found["data"]["result"]:
                    empty.add(query)
        # Nothing was refused, dropped or unusable, and nothing alarmed: there is nothing to count of those.
        if {query for query in empty if not re.search("refused|dropped|dead_letters|alerts", query)}:
            raise Missing(str(empty))

    eventually(answered, 120)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_killed_once_and_heals_with_nothing_lost(stack: Stack, temperature, rows: Rows, part: str):
    stack.compose("kill", "-s", "SIGKILL", part)
    begin = sorted(rows.t.tolist())[HISTORY]
    later = rows.take(rows.t >= begin)
    order = later.t.argsort(kind="stable")
    token = stack.token() if part != "ingest" else None
    stack.compose("up", "-d", "--no-recreate", part)
    token = token or eventually(stack.token)
    stack.send(temperature, later.take(order[stack.sent : stack.sent + 200]), token)
    stack.all_scored(4)


def test_the_whole_stack_restarts_with_its_states_and_models(stack: Stack):
    before, version = stack.scored(), stack.version("speed")
    stack.compose("down", "--timeout", "15")
    stack.up()
    assert eventually(lambda: stack.version("speed")) >= version
    # The states are there when the partitions are assigned.
    stack.all_scored(4)
    assert stack.scored() == before


def test_no_secret_is_in_logs_or_in_what_inspect_shows(stack: Stack):
    names = ("driftline_token", "aws_credentials")
    found = [stack.compose("exec", "-T", "ingest", "cat", f"/run/driftline/{name}") for name in names]
    signing = stack.compose("exec", "-T", "trainer", "cat", "/run/driftline/driftline_signing_key")
    secrets = [found[0].strip(), found[1].split("=")[-1].strip(), signing.splitlines()[1].strip()]
    assert all(len(secret) > 20 for secret in secrets)
    containers = stack.compose("ps", "-aq").split()
    shown = subprocess.run(["docker", "inspect", *containers], capture_output=True, text=True, check=True).stdout
    logs = stack.compose("logs", "--no-color")
    for secret in secrets:
        assert secret not in shown
        assert secret not in logs
