"""Services as a person starts them: wrong settings end one with a line, and what is away is said, shown and healed."""

import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from driftline_cli import broker, objects, processes
from driftline_cli.broker import free_port
from tests.started import Started

pytestmark = pytest.mark.process
EVERYWHERE = {"DRIFTLINE_HOST": "0.0.0.0"}  # noqa: S104 - what an image's services listen on
SERVICES = ("ingest", "inference", "combiner", "trainer")


async def refused(service: str, folder: Path, environment: dict[str, str]) -> str:
    """What the service says when it does not start; without a stack trace, and by its exit code, too."""
    async with Started(service, folder, environment) as started:
        assert await started.ended() == 1
    assert "Traceback" not in started.log
    return started.log


@pytest.mark.parametrize("service", SERVICES)
async def test_wrong_settings_end_every_service_with_a_line_each(service: str, tmp_path: Path):
    wrong = {
        "DRIFTLINE_PORT": "99999",
        "DRIFTLINE_TOKEN": "two words",
        "DRIFTLINE_DELIVERY": "twice",
    }
    said = (await refused(service, tmp_path, wrong)).splitlines()
    assert [line.split(":")[0] for line in said] == ["DRIFTLINE_DELIVERY", "DRIFTLINE_TOKEN", "DRIFTLINE_PORT"]
    assert "two words" not in "".join(said)


@pytest.mark.parametrize("service", SERVICES)
async def test_contradictory_settings_end_every_service_with_a_line(service: str, tmp_path: Path):
    (said,) = (await refused(service, tmp_path, {"DRIFTLINE_KAFKA_SASL_USERNAME": "me"})).splitlines()
    assert said.startswith("DRIFTLINE_KAFKA_SECURITY_PROTOCOL: found 'PLAINTEXT', expected 'SASL_SSL'")


async def test_no_stream_no_service(tmp_path: Path):
    (said,) = (await refused("combiner", tmp_path, {"DRIFTLINE_STREAMS": str(tmp_path / "none")})).splitlines()
    assert str(tmp_path / "none") in said


@pytest.mark.parametrize("service", ["ingest", "inference", "trainer"])
async def test_who_listens_to_others_needs_a_token_or_to_be_told_otherwise(service: str, tmp_path: Path):
    said = (await refused(service, tmp_path, EVERYWHERE)).splitlines()[-1]
    assert said.startswith("DRIFTLINE_TOKEN: found nothing while DRIFTLINE_HOST is '0.0.0.0', expected a token")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "driftline_token").write_text("hush\n")
    for otherwise in ({"DRIFTLINE_SECRETS": str(secrets)}, {"DRIFTLINE_ALLOW_ANONYMOUS": "true"}):
        async with Started(service, tmp_path, EVERYWHERE | otherwise) as started:
            await started.readiness()
            assert "hush" not in started.log


async def test_the_combiner_changes_nothing_so_it_needs_no_token(tmp_path: Path):
    async with Started("combiner", tmp_path, EVERYWHERE) as started:
        await started.readiness()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_taken_port_is_said_in_a_line_and_free_again_it_starts(service: str, tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with Started(service, tmp_path, {"DRIFTLINE_PORT": str(port)}) as started:
            assert await started.ended() != 0
        (said,) = [line for line in started.log.splitlines() if "address already in use" in line]
        assert str(port) in said
        assert "Traceback" not in started.log
    again = Started(service, tmp_path, {"DRIFTLINE_PORT": str(port)})
    again.port = port
    async with again:
        await again.readiness()


async def test_a_slip_is_in_the_log_of_a_service_that_starts(tmp_path: Path):
    async with Started("combiner", tmp_path, {"DRIFTLINE_BROKER": "kafka:9092"}) as started:
        assert "did you mean DRIFTLINE_BROKERS?" in await started.says("DRIFTLINE_BROKER is passed over")


@pytest.mark.kafka
@pytest.mark.parametrize("service", ["ingest", "inference", "combiner"])
async def test_a_broker_that_is_away_is_said_and_shown_and_found_when_it_is_there(
    service: str, tmp_path: Path, brokers
):
    port = free_port()
    async with Started(service, tmp_path, {"DRIFTLINE_BROKERS": f"127.0.0.1:{port}"}) as started:
        await started.until(ready=False, bus="the broker does not answer")
        await started.says(f"127.0.0.1:{port}")
        broker.start(tmp_path / "kafka", port)
        try:
            await started.ready()
        finally:
            processes.stop(tmp_path / "kafka", "kafka")


@pytest.mark.s3
async def test_a_store_that_is_away_is_said_and_shown_and_found_when_it_is_there(tmp_path: Path):
    port = free_port()
    environment = {
        "DRIFTLINE_STORE": "s3://driftline",
        "DRIFTLINE_STORE_ENDPOINT": f"http://127.0.0.1:{port}",
        "DRIFTLINE_STORE_POLL": "0.5",
        **objects.credentials(tmp_path / "s3"),
    }
    async with Started("trainer", tmp_path, environment) as started:
        await started.until(ready=False, store="the bucket: the store does not answer")
        await started.says("the store is away")
        objects.start(tmp_path / "s3", port)
        try:
            await started.until(ready=False, store="found no bucket 'driftline'")
            await objects.prepare(tmp_path / "s3", port, "driftline")
            await started.ready()
        finally:
            processes.stop(tmp_path / "s3", "s3")


@pytest.mark.kafka
@pytest.mark.s3
async def test_inference_works_on_without_its_store_and_says_what_is_missing(tmp_path: Path, brokers: str):
    port = free_port()
    environment = {
        "DRIFTLINE_BROKERS": brokers,
        "DRIFTLINE_STORE": "s3://driftline",
        "DRIFTLINE_STORE_ENDPOINT": f"http://127.0.0.1:{port}",
        "DRIFTLINE_STORE_POLL": "0.5",
        **objects.credentials(tmp_path / "s3"),
    }
    async with Started("inference", tmp_path, environment) as started:
        await started.until(ready=True, store="models/")
        await started.says("the store is away, nothing changes until it is back")
        objects.start(tmp_path / "s3", port)
        try:
            await objects.prepare(tmp_path / "s3", port, "driftline")
            await started.until(ready=True, store="ok")
        finally:
            processes.stop(tmp_path / "s3", "s3")


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("service", "variable", "check"), [("trainer", "STORE", "store"), ("inference", "CACHE", "cache")]
)
async def test_a_folder_that_can_not_be_used_is_shown_until_it_can(tmp_path, brokers, service, variable, check):
    """A file stands where the folder should: like a wrong permission, but for root, too."""
    place = tmp_path / "place"
    place.write_text("in the way")
    environment = {f"DRIFTLINE_{variable}": str(place), "DRIFTLINE_STORE_POLL": "0.5", "DRIFTLINE_BROKERS": brokers}
    async with Started(service, tmp_path, environment) as started:
        await started.until(ready=service == "inference", **{check: f"{place}: "})
        place.unlink()
        await started.until(ready=True, **{check: "ok"})


@pytest.mark.kafka
def test_making_topics_needs_no_token_wherever_its_image_listens(brokers: str):
    environment = EVERYWHERE | {"DRIFTLINE_BROKERS": brokers, "PATH": ""}
    command = [sys.executable, "-m", "driftline.service.make_topics"]
    subprocess.run(command, env=environment, check=True, timeout=60)


async def test_an_error_answer_holds_no_token(tmp_path: Path):
    async with Started("ingest", tmp_path, {"DRIFTLINE_TOKEN": "hush-hush"}) as started:
        await started.readiness()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{started.port}", timeout=60) as client:
            for header in ({}, {"Authorization": "Bearer hush-hushed"}, {"Authorization": "Bearer hush-hush"}):
                answer = await client.post("/v1/records", content=b"?", headers=header)
                assert "hush" not in answer.text
            for path in ("/openapi.json", "/metrics", "/readyz"):
                assert "hush" not in (await client.get(path)).text
    assert "hush" not in started.log
