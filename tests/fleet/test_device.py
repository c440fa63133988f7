"""A device joins, works with what the cloud gave it, and goes on where it was interrupted."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import stamina
from typer.testing import CliRunner

from driftline.bus.edge import edge_id
from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.errors import InvalidInput, NotAdmitted, RefusedNote, Unavailable
from driftline.fleet import definitions, enrolment
from driftline.fleet.definitions import KEY, DefinitionBundle, version_of
from driftline.fleet.device import Device
from driftline.fleet.enrolment import Wish, take_in
from driftline.fleet.names import REGISTRATIONS
from driftline.fleet.notes import sealed
from driftline.fleet.upkeep import CloudDefinitions, CredentialRotation
from driftline.models.signing import Signer, new_key
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline_cli import joining
from driftline_cli.__main__ import app
from driftline_cli.joining import Asked
from driftline_edge.settings import read_all
from tests.conftest import ROOT
from tests.edge.edge_process import EdgeProcess
from tests.fleet.cloud import TOKEN, Cloud

ATTIC = (
    "name: {name}\ntime: {{column: t, zone: UTC, period: 1min}}\nkey: sensor\ntarget: value\nlags: {lags}\nhorizon: 1\n"
)
PATIENCE_S = 90


def attic(name: str = "attic", lags: int = 3) -> str:
    return ATTIC.format(name=name, lags=lags)


@pytest.fixture
async def cloud(temperature: StreamDefinition, tmp_path: Path) -> AsyncIterator[Cloud]:
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams" / "attic.yaml").write_text(attic())
    async with Cloud.opened(tmp_path, temperature) as opened_cloud:
        async with asyncio.timeout(PATIENCE_S):
            async for _ in opened_cloud.store.watch("definitions/", poll=0.2):
                if [listed async for listed in opened_cloud.store.list(KEY)]:
                    break
        yield opened_cloud


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "edge"


async def joined(cloud: Cloud, data: Path, **asked: Any) -> joining.JoinOutcome:
    return await joining.join(data, Asked(cloud.url, await cloud.token(), "attic-pi", **asked))


async def registered(cloud: Cloud) -> int:
    return len([listed async for listed in cloud.store.list(REGISTRATIONS)])


def bundle(files: dict[str, str], number: int, signer: Signer | None) -> bytes:
    return sealed(DefinitionBundle(version=version_of(files), number=number, files=files), signer)


async def test_after_joining_it_has_all_that_it_works_with(cloud: Cloud, data: Path):
    outcome = await joined(cloud, data, labels={"site": "north"})
    device = Device(data)
    assert outcome.notes == []
    assert (outcome.joined.name, outcome.joined.labels) == ("attic-pi", {"site": "north"})
    assert device.trusted_keys_file.read_text().split() == [cloud.settings.signer().public]
    assert device.fleet_key_file.read_text() == cloud.settings.fleet_key_file.read_text()
    assert (device.definitions / "attic.yaml").read_text() == attic()
    secret_files = [path for path in device.folder.iterdir() if path.stat().st_mode & 0o077]
    assert (secret_files, device.folder.stat().st_mode & 0o777) == ([], 0o700)
    assert device.joined() == outcome.joined


async def test_done_again_it_needs_no_token_and_is_the_same_device(cloud: Cloud, data: Path):
    first = await joined(cloud, data)
    again = await joining.join(data, Asked(cloud.url, None, "other-name"))
    assert again.joined == first.joined
    assert await registered(cloud) == 1
    with pytest.raises(InvalidInput, match="to leave that one"):
        await joining.join(data, Asked("https://other.example.org", None))


async def test_whenever_the_power_is_cut_it_comes_to_the_same_in_the_end(
    cloud: Cloud, data: Path, monkeypatch: pytest.MonkeyPatch
):
    """The disk refuses the first file that is to be replaced, then the second, and so on."""
    token, writes, whole = await cloud.token(), [0], Path.replace

    def replace(self: Path, target: Path) -> Path:
        writes[0] -= data in self.parents
        if writes[0] < 0:
            raise OSError(5, "no power")
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    cuts = 0
    while True:
        writes[0] = cuts % 9  # some get further than others
        try:
            outcome = await joining.join(data, Asked(cloud.url, token, "attic-pi"))
            break
        except OSError:
            cuts += 1
            assert cuts < 60
    assert cuts > 3
    assert (outcome.joined, await registered(cloud)) == (Device(data).joined(), 1)
    assert (Device(data).definitions / "attic.yaml").read_text() == attic()


async def test_whenever_the_link_is_cut_it_comes_to_the_same_in_the_end(cloud: Cloud, data: Path):
    token, device = await cloud.token(), Device(data)
    for milliseconds in (0, 1, 3, 6, 10, 15, 21, 28, 36, 45, 55):
        try:
            async with asyncio.timeout(milliseconds / 1000):
                await enrolment.join(device, cloud.url, token, Wish("attic-pi"))
        except (TimeoutError, Unavailable):
            continue
    outcome = await enrolment.join(device, cloud.url, token, Wish("attic-pi"))
    assert (await registered(cloud), device.joined()) == (1, outcome)


async def test_it_joins_under_the_id_that_its_data_have(cloud: Cloud, data: Path):
    bus = EmbeddedBus(EmbeddedSettings(data / "bus"))
    own = await edge_id(bus)
    with pytest.raises(Unavailable, match="stop the edge, join, and start it again"):
        await joined(cloud, data)
    await bus.close()
    assert (await joined(cloud, data)).joined.edge == own


async def test_a_revoked_device_joins_again_with_a_new_token_under_another_key(cloud: Cloud, data: Path):
    first = (await joined(cloud, data)).joined
    key = Device(data).signer().public
    async with cloud.client(TOKEN) as client:
        await client.post(f"/v1/fleet/edges/{first.edge}/revoke")
    with pytest.raises(NotAdmitted, match="revoked"):
        await joining.join(data, Asked(cloud.url, None))
    token = await cloud.token(edge=first.edge, replaces=True)
    assert (await joining.join(data, Asked(cloud.url, token))).joined.edge == first.edge
    assert Device(data).signer().public != key


async def test_a_revoked_device_whose_power_is_cut_while_it_begins_again_does_not_keep_its_former_key(
    cloud: Cloud, data: Path, monkeypatch: pytest.MonkeyPatch
):
    first = (await joined(cloud, data)).joined
    async with cloud.client(TOKEN) as client:
        await client.post(f"/v1/fleet/edges/{first.edge}/revoke")
    token = await cloud.token(edge=first.edge, replaces=True)
    left, whole = [0], Path.unlink

    def unlink(self: Path, *, missing_ok: bool = False) -> None:
        left[0] -= data in self.parents
        if left[0] < 0:
            raise OSError(5, "no power")
        whole(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    for files in range(20):
        left[0] = files
        try:
            outcome = await joining.join(data, Asked(cloud.url, token))
            break
        except OSError:
            continue
    assert (files > 3, outcome.joined.edge) == (True, first.edge)


async def test_a_rotation_whose_power_was_cut_at_its_end_is_followed_by_a_whole_one(cloud: Cloud, data: Path):
    await joined(cloud, data)
    device, fleet = Device(data), Device(data).joined()
    next_secret = device.next_secret()
    await enrolment.rotate(device, fleet)
    (device.folder / "next-secret").write_text(next_secret)
    before = device.credential()
    await enrolment.rotate(device, fleet)
    assert device.credential() != before


async def test_the_credential_is_changed_when_it_is_old_and_not_before(cloud: Cloud, data: Path):
    await joined(cloud, data)
    device, now = Device(data), [0.0]
    fleet, before = device.joined(), device.credential()
    start = device.credential_file.stat().st_mtime
    rotation = CredentialRotation(device, fleet, lambda: now[0])
    now[0] = start + fleet.rotate_after - 60
    assert not await rotation.look()
    now[0] = 0.0  # a clock that was never set
    assert not await rotation.look()
    now[0] = start + fleet.rotate_after + 60
    assert await rotation.look()
    assert device.credential() != before
    store = enrolment.store_of(device, fleet)
    await store.check()
    await store.close()


async def test_a_rotation_whose_answer_was_lost_is_done_again(cloud: Cloud, data: Path):
    await joined(cloud, data)
    device, fleet = Device(data), Device(data).joined()
    for milliseconds in (1, 4, 8, 13, 20, 30):
        try:
            async with asyncio.timeout(milliseconds / 1000):
                await enrolment.rotate(device, fleet)
        except (TimeoutError, Unavailable):
            continue
    await enrolment.rotate(device, fleet)
    store = enrolment.store_of(device, fleet)
    await store.check()
    await store.close()


async def test_changed_definitions_come_by_themselves_and_local_ones_count_for_more(cloud: Cloud, data: Path):
    await joined(cloud, data)
    device, arrived = Device(data), asyncio.Event()
    store = enrolment.store_of(device, device.joined())

    async def on_new() -> None:
        arrived.set()

    job = CloudDefinitions(device, store, on_new).job(poll=600)
    running = asyncio.create_task(job.run())
    local = data / "local"
    local.mkdir()
    (local / "own.yaml").write_text(attic("cellar", lags=9))
    (cloud.settings.streams / "cellar.yaml").write_text(attic("cellar", lags=5))
    async with asyncio.timeout(PATIENCE_S):
        await arrived.wait()
    streams = Streams.open(local, device.definitions)
    assert {name: stream.lags for name, stream in streams.items()} == {"attic": 3, "cellar": 9}
    assert streams.refused == {}
    await job.stop()
    await running
    await store.close()


def test_a_bundle_that_is_spoilt_changes_nothing(data: Path):
    signer, device = Signer(new_key()), Device(data)
    device.signer()
    device.trusted_keys_file.write_text(signer.public)
    assert take_in(device, bundle({"attic.yaml": attic()}, 5, signer)) is not None
    assert take_in(device, bundle({"attic.yaml": attic()}, 5, signer)) is None
    other = {"attic.yaml": attic(lags=4)}
    for payload, reason in (
        (bundle(other, 6, None), "no signature"),
        (bundle(other, 6, Signer(new_key())), "expected a trusted one"),
        (bundle(other, 4, signer), "it is an old one"),
        (bundle({**other, "cellar.yaml": "name: ["}, 6, signer), "not YAML"),
        (bundle({**other, "cellar.yaml": attic()}, 6, signer), "another file has already"),
        (bundle({"../attic.yaml": attic()}, 6, signer), "expected a name such as"),
        (bundle({".attic.yaml": attic()}, 6, signer), "expected a name such as"),
        (sealed(DefinitionBundle(version="0", number=6, files=other), signer), "found content"),
        (b"\x00", "expected a DefinitionBundle"),
    ):
        with pytest.raises(RefusedNote, match=reason):
            take_in(device, payload)
        assert {path.name: path.read_text() for path in device.definitions.iterdir()} == {"attic.yaml": attic()}
    assert take_in(device, bundle({"cellar.yaml": attic("cellar")}, 6, signer)) is not None
    assert [path.name for path in device.definitions.iterdir()] == ["cellar.yaml"]


def test_what_was_cut_off_in_the_midst_of_being_written_is_written_again(data: Path):
    signer, device = Signer(new_key()), Device(data)
    device.signer()
    device.trusted_keys_file.write_text(signer.public)
    payload = bundle({"attic.yaml": attic()}, 5, signer)
    take_in(device, payload)
    (device.definitions / "attic.yaml").write_text("half")
    (device.definitions / "left.yaml").write_text(attic("left"))
    assert take_in(device, payload) is not None
    assert {path.name: path.read_text() for path in device.definitions.iterdir()} == {"attic.yaml": attic()}
    device.bundle_file.write_bytes(b"rotten")
    assert take_in(device, payload) is not None


async def test_the_edge_runs_by_what_it_was_given_and_the_environment_counts_for_more(
    cloud: Cloud, data: Path, monkeypatch: pytest.MonkeyPatch
):
    outcome, device = await joined(cloud, data, labels={"site": "north"}), Device(data)
    for name in [name for name in os.environ if name.startswith("DRIFTLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DRIFTLINE_DATA", str(data))
    settings = read_all()
    inference = settings.inference
    assert (inference.store, inference.store_token_file) == (cloud.url, device.credential_file)
    assert (inference.edge, inference.edge_id) == ("attic-pi", outcome.joined.edge)
    assert inference.cloud_streams == device.definitions
    assert not inference.trust().believes_nobody
    assert inference.labels == {"site": "north"}
    assert inference.device_key().signer().public == device.signer().public
    assert inference.sealing_key().secret == cloud.settings.fleet_key_bytes()
    assert (settings.combiner.trainer, settings.combiner.trainer_token()) == (cloud.url, device.credential())
    lines = dict(line.split("=", 1) for line in device.environment_file.read_text().splitlines())
    for name in ("LABELS", "DEVICE_KEY_FILE", "FLEET_KEY_FILE"):
        monkeypatch.setenv(f"DRIFTLINE_{name}", lines[f"DRIFTLINE_{name}"])
    named = read_all().inference
    assert (named.labels, named.device_key_file, named.fleet_key_file) == (
        inference.labels,
        device.key_file.absolute(),
        device.fleet_key_file.absolute(),
    )
    monkeypatch.setenv("DRIFTLINE_LABELS", "site=south")
    assert read_all().inference.labels == {"site": "south"}
    monkeypatch.setenv("DRIFTLINE_EDGE", "mine")
    monkeypatch.setenv("DRIFTLINE_STORE", str(data / "own"))
    settings = read_all()
    assert (settings.inference.edge, settings.ingest.store) == ("mine", str(data / "own"))
    assert settings.combiner.trainer is None


@pytest.mark.process
async def test_an_edge_that_has_joined_runs_and_takes_changed_streams_up(cloud: Cloud, tmp_path: Path):
    data = tmp_path / "edge"
    outcome = await joined(cloud, data)
    no_streams = tmp_path / "none"
    no_streams.mkdir()
    given = {"DRIFTLINE_STORE": "", "DRIFTLINE_CACHE": "", "DRIFTLINE_STREAMS": str(no_streams)}
    async with EdgeProcess(tmp_path, given) as edge:
        await edge.all_ready()
        pid = edge.pid
        edge.port = edge.ports["inference"]
        answer = (await edge.get("/v1/models")).json()
        assert answer["edge"]["id"] == outcome.joined.edge
        edge.port = edge.ports["ingest"]
        (cloud.settings.streams / "attic.yaml").write_text(attic(lags=6))
        await edge.says("the cloud has changed streams that run")
        assert (data / "definitions" / "attic.yaml").read_text() == attic(lags=6)
        async for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_max=0.5):
            with attempt:
                assert edge.log.count("this edge's id") >= 4, "two services find it, twice"
        await edge.all_ready()
        states = (await edge.get("/v1/streams")).json()
        assert [(state["stream"], state["state"]) for state in states["streams"]] == [("attic", "runs")]
        assert edge.pid == pid


@pytest.mark.process
async def test_data_of_another_edge_end_it_with_a_sentence(cloud: Cloud, tmp_path: Path):
    await joined(cloud, tmp_path / "edge")
    bus = EmbeddedBus(EmbeddedSettings(tmp_path / "edge" / "bus"))
    other = await edge_id(bus)
    await bus.close()
    no_streams = tmp_path / "none"
    no_streams.mkdir()
    given = {"DRIFTLINE_STORE": "", "DRIFTLINE_CACHE": "", "DRIFTLINE_STREAMS": str(no_streams)}
    async with EdgeProcess(tmp_path, given) as edge:
        await edge.says(f"found the data of edge {other}, expected those of")
        await edge.ended()


async def test_who_has_data_replaces_nobody_and_the_token_stays_good(cloud: Cloud, data: Path):
    old = await cloud.joined()
    token = await cloud.token(edge=old.edge, replaces=True)
    bus = EmbeddedBus(EmbeddedSettings(data / "bus"))
    own = await edge_id(bus)
    await bus.close()
    with pytest.raises(InvalidInput, match=f"found the data of edge {own}, expected an empty data folder"):
        await joining.refuse_data_of_others(data, old.edge)
    assert await joining.refuse_data_of_others(data, own)
    assert not await joining.refuse_data_of_others(data / "new", old.edge)
    assert (await joining.join(data / "new", Asked(cloud.url, token, edge=old.edge))).joined.edge == old.edge


def test_the_token_is_read_from_a_file_or_from_standard_input_and_is_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("hush-token\n")
    runner = CliRunner()
    for arguments, given in ((["--token-file", "token"], None), (["-"], "hush-token\n")):
        run = runner.invoke(app, ["edge", "join", "http://127.0.0.1:9", *arguments], input=given)
        assert (run.exit_code, "does not answer" in run.output) == (3, True), run.output
        assert "hush" not in run.output
    run = runner.invoke(app, ["edge", "join", "http://cloud.example.org", "-"], input="hush-token")
    assert (run.exit_code, "expected https://" in run.output) == (1, True)
    run = runner.invoke(app, ["edge", "join", "http://127.0.0.1:9"])
    assert (run.exit_code, "found no join token" in run.output) == (1, True)


def test_streams_of_this_repository_make_a_bundle():
    files = {path.name: path.read_text() for path in (ROOT / "streams").glob("*.yaml")}
    definitions.check(files)
    assert len(bundle(files, 1, Signer(new_key()))) < definitions.LIMIT
