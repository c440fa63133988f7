"""Opens the bus and the store that the settings name."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from driftline.bus.kafka_settings import KafkaSettings
from driftline.errors import InvalidInput
from driftline.service.setting_checks import line
from driftline.service.settings import Settings
from driftline.store.port import Store

if TYPE_CHECKING:
    from driftline.bus.kafka import KafkaBus


def open_store(settings: Settings) -> Store:
    """A folder, the bucket of an s3:// URL, or the trainer's door. Each is imported only where it is used: memory is
    dear on the edge."""
    if settings.store_is_door:
        from driftline.store.door import DoorSettings, DoorStore  # noqa: PLC0415

        token = settings.store_token.get_secret_value() if settings.store_token else None
        return DoorStore(DoorSettings(settings.store, token, settings.store_token_file, settings.store_ca_file))
    if not settings.store.startswith("s3://"):
        from driftline.store.folder import FolderStore  # noqa: PLC0415

        return FolderStore(Path(settings.store))
    from driftline.store.s3 import S3Settings, S3Store  # noqa: PLC0415

    return S3Store(
        S3Settings(
            bucket=urlsplit(settings.store).netloc,
            prefix=settings.store_prefix,
            endpoint=settings.store_endpoint,
            region=settings.store_region,
            queue=settings.store_queue,
        )
    )


def open_bus(settings: Settings) -> "KafkaBus":
    """Raises InvalidInput for a disk on which the topics can't be."""
    from driftline.bus.kafka import KafkaBus, least_disk  # noqa: PLC0415 - an edge with a bus of its own has no Kafka

    least = least_disk(settings.partitions)
    if settings.disk < least:
        raise InvalidInput(line("disk", settings.disk, f"at least {least}, for {settings.partitions} partitions"))
    return KafkaBus(kafka_settings(settings))


def kafka_settings(settings: Settings) -> KafkaSettings:
    """How the bus is reached."""
    return KafkaSettings(
        brokers=settings.brokers,
        partitions=settings.partitions,
        replication=settings.replication,
        disk=settings.disk,
        session_timeout=settings.session_timeout,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=settings.kafka_sasl_password.get_secret_value() if settings.kafka_sasl_password else None,
        ca_file=str(settings.kafka_ca_file) if settings.kafka_ca_file else None,
        cert_file=str(settings.kafka_cert_file) if settings.kafka_cert_file else None,
        key_file=str(settings.kafka_key_file) if settings.kafka_key_file else None,
    )
