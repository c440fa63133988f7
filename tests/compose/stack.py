"""A deployment as its user handles it: docker compose, published ports, and patience."""

import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
import stamina

from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline.streams.rows import Rows, concatenate
from driftline_cli.replay import chunks
from tests.conftest import ROOT

PORTS = {"ingest": 8001, "inference": 8002, "combiner": 8003, "trainer": 8004, "prometheus": 9090}
PLAIN = {service: f"http://127.0.0.1:{port}" for service, port in PORTS.items()}
"""Where a deployment on one machine answers."""
SAMPLE = ROOT / "data" / "la-haute-borne.parquet"
NEEDS_ENGINE = pytest.mark.skipif("DRIFTLINE_COMPOSE" not in os.environ, reason="needs an engine: make compose-test")
HISTORY, BATCH = 12_000, 500
NAME = "outdoor-temperature"


T = TypeVar("T")


class Missing(Exception):
    """What is waited for is not there yet."""


class ComposeError(Exception):
    """What `docker compose` says when it can't do what it was told."""


def eventually(check: Callable[[], T], seconds: float = 180) -> T:
    for attempt in stamina.retry_context(
        on=(Missing, httpx.HTTPError), attempts=None, timeout=seconds, wait_initial=0.2, wait_max=1.0
    ):
        with attempt:
            return check()
    raise AssertionError


def wait_for(look: Callable[[], dict[str, Any]]) -> None:
    """Until the job that `look` gives has ended, as it should."""

    def ended() -> dict[str, Any]:
        found = look()
        if found["state"] in {"queued", "running"}:
            raise Missing
        return found

    found = eventually(ended, 300)
    assert found["state"] == "published", found["reason"]


class Stack:
    """The deployment, as its user handles it. doors: by service where it answers."""

    def __init__(self, *files: Path, doors: Mapping[str, str] = PLAIN, **environment: str) -> None:
        self._files = [option for file in files for option in ("-f", str(file))]
        self._environment = os.environ | {"COMPOSE_PROFILES": ""} | environment
        self._doors = doors
        self.client = httpx.Client(timeout=30)
        self.sent = 0

    def trust(self, authority: str) -> None:
        """From now on HTTPS is spoken with whom this certificate authority, as PEM, vouches for, and nobody else."""
        self.client.close()
        self.client = httpx.Client(timeout=30, verify=ssl.create_default_context(cadata=authority))

    def compose(self, *command: str) -> str:
        return self.compose_bytes(*command).decode()

    def compose_bytes(self, *command: str) -> bytes:
        done = subprocess.run(
            ["docker", "compose", *self._files, *command],
            env=self._environment,
            capture_output=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            raise ComposeError(done.stderr.decode()[-3000:])
        return done.stdout

    def up(self, *services: str) -> None:
        """services: these and what they need; none for all."""
        self.compose("up", "-d", "--wait", "--wait-timeout", "240", *services)

    def token(self) -> str:
        return self.compose("exec", "-T", "ingest", "cat", "/run/driftline/driftline_token").strip()

    def get(self, service: str, path: str, **parameters: str) -> Any:
        answer = self.client.get(self.url(service, path), params=parameters)
        answer.raise_for_status()
        return answer.json()

    def post(self, service: str, path: str, body: object, token: str) -> httpx.Response:
        return self.client.post(self.url(service, path), json=body, headers={"Authorization": f"Bearer {token}"})

    def url(self, service: str, path: str) -> str:
        return f"{self._doors[service]}{path}"

    def down(self) -> None:
        """With its volumes."""
        self.client.close()
        self.compose("down", "--volumes", "--timeout", "5")

    def states(self) -> dict[str, str]:
        """By service what `docker compose ps` says of its health, or else of its state."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        found = {container["Service"]: container for container in map(json.loads, lines)}
        return {
            service: container["Health"] if container["State"] == "running" else container["State"]
            for service, container in found.items()
        }

    def all_in(self, wanted: Mapping[str, str]) -> None:
        """Raises Missing as long as a service is in another state than that."""
        states = self.states()
        if {service: states[service] for service in wanted} != wanted:
            raise Missing(str(states))

    def why_unhealthy(self, service: str) -> str:
        """What its health check said last."""
        container = self.compose("ps", "--quiet", service).strip()
        command = ["docker", "inspect", "--format={{json .State.Health.Log}}", container]
        said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return said[-1]["Output"]

    def pin(self, member: str, version: str | None, token: str) -> None:
        """version: None to follow the store again."""
        self.post("inference", f"/v1/models/{NAME}.{member}/pin", {"version": version}, token).raise_for_status()

    def inferred(self, member: str, version: str) -> list[float]:
        """What a model makes of some inputs, always the same. Raises httpx.HTTPStatusError while it does not serve."""
        path = f"/v2/models/{NAME}.{member}/versions/{version}"
        (wanted,) = self.get("inference", path)["inputs"]
        values = np.random.default_rng(1).normal(size=(20, wanted["shape"][-1])).round(3)
        asked = {"inputs": [wanted | {"shape": list(values.shape), "data": values.ravel().tolist()}]}
        answer = self.client.post(self.url("inference", f"{path}/infer"), json=asked).raise_for_status()
        return answer.json()["outputs"][0]["data"]

    def send(self, stream: StreamDefinition, rows: Rows, token: str) -> None:
        """Until ingest has taken everything: what it did not acknowledge is sent again, as a sensor would."""
        for part in chunks(rows, BATCH):
            eventually(partial(self.offer, stream, part, token))

    def offer(self, stream: StreamDefinition, rows: Rows, token: str) -> None:
        """Raises Missing or httpx.HTTPError when ingest does not take them."""
        lines = [row(stream, rows, n) for n in range(len(rows))]
        answer = self.post("ingest", f"/v1/records?stream={NAME}", lines, token)
        if answer.status_code != 202:
            raise Missing(answer.text)
        self.sent += len(rows)

    def train(self, token: str) -> None:
        """Has a batch model made of `history.parquet`, and waits until it serves."""
        asked = {"stream": NAME, "member": "batch", "history": "history.parquet"}
        job = self.post("trainer", "/v1/jobs", asked, token).raise_for_status().json()["id"]
        wait_for(lambda: self.get("trainer", f"/v1/jobs/{job}"))
        eventually(lambda: self.version("batch"))

    def swapped_since(self, version: str) -> str:
        """The speed model's version, once it is newer."""

        def newer() -> str:
            found = self.version("speed")
            if found.split("-")[0] <= version.split("-", maxsplit=1)[0]:
                raise Missing(found)
            return found

        return eventually(newer, 180)

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


def row(stream: StreamDefinition, part: Rows, n: int) -> dict[str, Any]:
    values = [None if value != value else value for value in part.values[n].tolist()]  # noqa: PLR0124 - NaN
    time = in_words(int(part.t[n]))
    return {stream.time.column: time, stream.key: str(part.keys[n]), **dict(zip(stream.columns, values, strict=True))}


def in_words(t: int) -> str:
    return datetime.fromtimestamp(t / 1000, UTC).isoformat()


class Data:
    """Some thousand records of every turbine: the first ones as history, the others to be sent."""

    def __init__(self) -> None:
        self.stream = load(ROOT / "streams" / f"{NAME}.yaml")
        found = tables.read_file(SAMPLE, self.stream)
        known = found.take(found.values[:, 0] == found.values[:, 0])
        rows = concatenate([series.take(slice(0, 6000)) for series in known.by_key().values()])
        ordered = rows.take(rows.t.argsort(kind="stable"))
        self._history, self._later = ordered.take(slice(0, HISTORY)), ordered.take(slice(HISTORY, None))

    def write(self, folder: Path) -> None:
        """history.parquet beside the sample data, for a trainer that is somebody else."""
        folder.chmod(0o755)
        path = folder / "history.parquet"
        path.write_bytes(tables.encode(self._history, self.stream))
        path.chmod(0o644)
        shutil.copy(SAMPLE, folder)

    def next(self, stack: Stack, count: int) -> Rows:
        """What has not been sent to it yet."""
        return self._later.take(slice(stack.sent, stack.sent + count))
