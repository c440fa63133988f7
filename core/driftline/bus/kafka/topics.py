"""The topics themselves: made where they are missing, looked at, and kept as they must be."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import stamina
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupCoordinatorNotAvailableError, LeaderNotAvailableError

from driftline.bus.kafka.connection import answering, start, stop
from driftline.bus.kafka.keeping import topic_config
from driftline.bus.kafka_settings import KafkaSettings
from driftline.errors import BusUnavailable

TOPIC_CONFIG = 1
"""Kafka's mark of a setting that was made for the topic alone."""


class KafkaTopics:
    """Every call may raise BusUnavailable."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._known: dict[str, int] = {}

    async def ensure(self, names: Iterable[str]) -> None:
        """Makes topics that are missing. Raises BusUnavailable also for a topic of another number of partitions."""
        for name, partitions in (await self.make(names)).items():
            if partitions != self._settings.partitions:
                raise BusUnavailable(
                    f"topic {name}: found {partitions} partitions, expected {self._settings.partitions}"
                )

    async def make(self, names: Iterable[str]) -> dict[str, int]:
        """Makes the topics that are not there, with the partitions and retention that they need. Gives how many
        partitions each has."""
        wanted = set(names)
        missing = sorted(wanted - self._known.keys())
        if missing:
            async with self._admin() as admin:
                with answering():
                    await admin.create_topics([self._new(name) for name in missing])
                    described = await _described(admin, missing)
            self._known |= _partitions(described)
        return {name: self._known[name] for name in wanted}

    def _new(self, name: str) -> NewTopic:
        settings = self._settings
        return NewTopic(name, settings.partitions, settings.replication, topic_configs=self.wanted(name))

    def wanted(self, name: str) -> dict[str, str]:
        """How the topic must be kept: its settings."""
        return topic_config(name, self._settings.disk, self._settings.partitions)

    async def partitions(self, names: Iterable[str]) -> dict[str, int]:
        """How many partitions those of the topics have that are there."""
        async with self._admin() as admin:
            with answering():
                existing = sorted(set(await admin.list_topics()) & set(names))
                return _partitions(await _described(admin, existing) if existing else [])

    async def configs(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """How topics that are there are kept: of each all settings."""
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        async with self._admin() as admin:
            with answering():
                answers = await admin.describe_configs(wanted) if wanted else []
        # (error, message, type, name, [(setting, value, …), …])
        resources = [resource for answer in answers for resource in answer.resources]
        return {name: {entry[0]: entry[1] for entry in entries} for _, _, _, name, entries in resources}

    async def configure(self, name: str, settings: Mapping[str, str]) -> None:
        """Sets how a topic is kept, and leaves its other settings as they are."""
        async with self._admin() as admin:
            with answering():
                described = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
                ((_, _, _, _, entries),) = described[0].resources
                # Kafka's call replaces all that was ever set on the topic.
                own = {entry[0]: entry[1] for entry in entries if entry[3] == TOPIC_CONFIG}
                await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, own | dict(settings))])

    async def committed(self, group: str) -> dict[Any, int]:
        """By topic partition, the offset that a consumer group has shown to have reached."""
        async with self._admin() as admin:
            with answering():
                offsets = await admin.list_consumer_group_offsets(group)
        return {partition: committed.offset for partition, committed in offsets.items()}

    async def at_work(self, groups: Iterable[str]) -> list[str]:
        """Those of the consumer groups that have members."""
        async with self._admin() as admin:
            with answering():
                return sorted([group for group in groups if await _members(admin, group)])

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        timeout_ms = self._settings.request_timeout_ms()
        admin = AIOKafkaAdminClient(**self._settings.client(), request_timeout_ms=timeout_ms)
        await start(admin, self._settings)
        try:
            yield admin
        finally:
            await stop(admin)


@stamina.retry(on=GroupCoordinatorNotAvailableError, timeout=30.0, attempts=None, wait_initial=0.05, wait_max=0.5)
async def _members(admin: AIOKafkaAdminClient, group: str) -> list[Any]:
    """Those of a group; a broker that never had a group makes the topic of their offsets only now."""
    # One at a time: aiokafka 0.14 reads version 3 of the answer as version 2, which goes wrong at a second group.
    (answer,) = await admin.describe_consumer_groups([group])
    ((_, _, _, _, _, members, *_),) = answer.groups
    return list(members)


@stamina.retry(on=LeaderNotAvailableError, timeout=10.0, attempts=None, wait_initial=0.02, wait_max=0.5)
async def _described(admin: AIOKafkaAdminClient, names: Sequence[str]) -> list[dict[str, Any]]:
    """What a broker knows of topics; one that was made a moment ago has no leaders yet."""
    topics: list[dict[str, Any]] = await admin.describe_topics(names)
    if any(part["error_code"] for topic in topics for part in (topic, *topic["partitions"])):
        raise LeaderNotAvailableError(f"topics {', '.join(names)}")
    return topics


def _partitions(described: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    return {topic["topic"]: len(topic["partitions"]) for topic in described}
