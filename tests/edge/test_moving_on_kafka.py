"""An edge on Kafka is replaced from the store, and restored from a file: it forecasts what it would have forecast."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from driftline.errors import InvalidInput, Unavailable
from driftline.messages import Blend
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline.streams.rows import Rows
from driftline_cli import backups
from driftline_cli.replacement import replaced
from driftline_edge.settings import AllSettings, read_all
from tests.conftest import ROOT
from tests.edge.kafka_edge import OwnKafka, own_kafka, run
from tests.edge.test_process import names, records

pytestmark = [pytest.mark.kafka, pytest.mark.process]
BEFORE, AFTER = 300, 100
CLOSE = 1e-6


@pytest.fixture(scope="module")
def stream() -> StreamDefinition:
    return load(ROOT / "streams" / "outdoor-temperature.yaml")


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnKafka]:
    """Not the one that tests share, whose topics are other edges', too."""
    try:
        with own_kafka(tmp_path_factory.mktemp("kafka")) as kafka:
            yield kafka
    except Unavailable as error:
        pytest.skip(str(error))


@dataclass(frozen=True)
class Device:
    """Its folder, and what it is given."""

    folder: Path
    environment: dict[str, str]

    @property
    def data(self) -> Path:
        return self.folder / "edge"

    @property
    def settings(self) -> AllSettings:
        """As the edge reads them, and `driftline backup` for it."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.environment, "DRIFTLINE_DATA": str(self.data)}.items():
                patch.setenv(name, value)
            return read_all()


def device(folder: Path, kafka: OwnKafka, store: Path, key: Path) -> Device:
    return Device(
        folder,
        {
            "DRIFTLINE_BUS": "kafka",
            "DRIFTLINE_BROKERS": kafka.brokers,
            "DRIFTLINE_STORE": str(store),
            "DRIFTLINE_FLEET_KEY_FILE": str(key),
            "DRIFTLINE_STREAMS": str(ROOT / "streams"),
        },
    )


async def go_on(device: Device, kafka: OwnKafka, stream: StreamDefinition, rows: Rows) -> list[Blend]:
    """What these rows lead to."""
    await run(device.folder, device.environment, stream, rows)
    times = set(rows.t.tolist())
    return [blend for blend in await kafka.blends() if blend.t in times]


def assert_same(found: list[Blend], expected: list[Blend]) -> None:
    """Each record has one blend, and it is the expected one."""
    assert [(blend.t, blend.key) for blend in found] == [(blend.t, blend.key) for blend in expected]
    for blend, ought in zip(found, expected, strict=True):
        assert blend.observed == ought.observed
        assert blend.value == pytest.approx(ought.value, abs=CLOSE)
        assert blend.weights == {name: pytest.approx(row, abs=CLOSE) for name, row in ought.weights.items()}


async def test_replaced_or_restored_on_an_empty_broker_it_goes_on_as_it_would_have(
    tmp_path: Path, kafka: OwnKafka, stream: StreamDefinition
):
    (tmp_path / "fleet.key").write_bytes(bytes(range(32)))
    rows = records(stream, BEFORE + AFTER)
    first, second = rows.take(slice(0, BEFORE)), rows.take(slice(BEFORE, None))
    file = tmp_path / "edge.backup"
    old = device(tmp_path / "old", kafka, tmp_path / "store", tmp_path / "fleet.key")

    async def refused() -> None:
        with pytest.raises(Unavailable, match=r"found services at work \(combiner, inference, ingest"):
            await backups.backup(old.settings, file)
        assert not file.exists()

    await run(old.folder, old.environment, stream, first, at_its_end=refused)
    old_id = await kafka.id()
    header = await backups.backup(old.settings, file)
    assert (header.edge, header.bus) == (old_id, "kafka")
    assert header.waiting == BEFORE, "no window is full, so the broker alone has its records"
    # What the old one goes on to leave is not what the others begin with.
    shutil.copytree(tmp_path / "store", tmp_path / "left")
    expected = await go_on(old, kafka, stream, second)
    assert len(expected) == len(names(second)) == AFTER

    await kafka.empty()
    new = device(tmp_path / "new", kafka, tmp_path / "left", tmp_path / "fleet.key")
    # The old one left a heartbeat when it ended.
    replacement = await replaced(new.settings, old_id, force=True)
    assert (replacement.edge, replacement.states > 0) == (old_id, True)
    assert_same(await go_on(new, kafka, stream, second), expected)
    assert await kafka.id() == old_id
    with pytest.raises(InvalidInput, match=f"this device is the edge '{old_id}' already: there is nothing to do"):
        await replaced(new.settings, old_id, force=True)

    await kafka.empty()
    restored = device(tmp_path / "restored", kafka, tmp_path / "left", tmp_path / "fleet.key")
    assert (await backups.restore(restored.settings, file)).header == header
    with pytest.raises(InvalidInput, match=f"this device is the edge '{old_id}' already"):
        await backups.restore(restored.settings, file)
    assert_same(await go_on(restored, kafka, stream, second), expected)
    assert await kafka.records() == AFTER
