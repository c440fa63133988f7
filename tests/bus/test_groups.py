"""Which consumer groups of a broker are at work, which a backup or a replacement of an edge must not meet."""

import uuid

import pytest

from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.errors import BusUnavailable
from driftline_cli.broker import free_port
from tests.bus.conftest import PARTITIONS, ticks
from tests.bus.test_contract import Holder

pytestmark = pytest.mark.kafka


async def test_groups_are_at_work_while_they_have_members(brokers: str):
    bus, name = KafkaBus(KafkaSettings(brokers, partitions=PARTITIONS)), uuid.uuid4().hex[:8]
    groups = [f"group-{name}-{number}" for number in range(3)]
    topic = ticks(f"ticks-{name}")
    try:
        assert await bus.topics.at_work(groups) == []
        async with bus.join(topic, groups[0], Holder()), bus.join(topic, groups[2], Holder()):
            assert await bus.topics.at_work(groups) == [groups[0], groups[2]]
        assert await bus.topics.at_work(groups) == []
    finally:
        await bus.close()


async def test_a_broker_that_does_not_answer_is_said_to_be_away():
    bus = KafkaBus(KafkaSettings(f"127.0.0.1:{free_port()}", send_timeout=1.0))
    with pytest.raises(BusUnavailable, match="does not answer"):
        await bus.topics.at_work(["any"])
