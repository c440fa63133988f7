"""What Kafka may take on the disk: one setting for all topics together."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina

from driftline.bus.kafka import KafkaBus, KafkaSettings, least_disk
from driftline.bus.kafka.keeping import topic_config
from driftline.errors import InvalidInput, Unavailable
from driftline.messages import ALERTS, Alert
from driftline.service.make_topics import OURS
from driftline.service.ports import open_bus
from driftline.service.settings import Settings
from driftline_cli import broker, processes

PATIENCE_S = 60
AT_ONCE = "log.retention.check.interval.ms=200\nlog.initial.task.delay.ms=200\n"
TEXT = "x" * 50_000
EVENTS = ("driftline.store-events", "driftline.store-events.trainer")


@pytest.mark.parametrize("partitions", [1, 4, 64])
@pytest.mark.parametrize("times", [1, 2, 30, 1000])
def test_all_topics_together_are_never_more_than_the_disk(partitions: int, times: int):
    disk = least_disk(partitions) * times
    configs = [topic_config(name, disk, partitions) for name in (*OURS, *EVENTS)]
    # Kafka keeps up to a segment more than the bound, and writes to one while it looks now and then.
    most = [int(config["retention.bytes"]) + 2 * int(config["segment.bytes"]) for config in configs if _bound(config)]
    assert len(most) == len(OURS) + len(EVENTS) - 1
    assert 0.7 * disk <= sum(most) * partitions <= 0.9 * disk


def _bound(config: dict[str, str]) -> bool:
    return int(config["retention.bytes"]) > 0


def test_a_disk_that_the_topics_cannot_be_kept_in_is_refused():
    with pytest.raises(InvalidInput, match="DRIFTLINE_DISK: found 1000000, expected at least 335544320, for 4 part"):
        open_bus(Settings(disk=1_000_000))


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    port = broker.free_port()
    try:
        broker.start(tmp_path, port, more=AT_ONCE)
    except Unavailable as error:
        pytest.skip(str(error))
    yield tmp_path / "data", f"127.0.0.1:{port}"
    processes.stop(tmp_path, "kafka")


@pytest.mark.kafka
async def test_a_topic_drops_its_oldest_before_it_takes_more_than_its_share(own_broker: tuple[Path, str]):
    folder, address = own_broker
    disk = least_disk(1)
    bus = KafkaBus(KafkaSettings(address, partitions=1, disk=disk))
    await bus.topics.ensure([ALERTS.name])
    config = topic_config(ALERTS.name, disk, 1)
    share = int(config["retention.bytes"]) + 2 * int(config["segment.bytes"])
    for t in range(0, 4 * share // len(TEXT), 10):
        await bus.publish(ALERTS, [Alert("s", "k", t + i, "drift", "y", TEXT) for i in range(10)])
    await bus.close()
    # A file may go between the look into the folder and that at its size.
    again = (AssertionError, FileNotFoundError)
    async for attempt in stamina.retry_context(on=again, attempts=None, timeout=PATIENCE_S, wait_max=0.5):
        with attempt:
            assert sum(path.stat().st_size for path in (folder / f"{ALERTS.name}-0").glob("*.log*")) <= share
