"""Opens the doors that only some settings ask for."""

from typing import TYPE_CHECKING

from driftline.streams.catalog import Streams
from driftline_ingest.door import Door
from driftline_ingest.settings import IngestSettings

if TYPE_CHECKING:
    from driftline_ingest.mqtt import MqttDoor


def open_mqtt(settings: IngestSettings, door: Door, streams: Streams) -> "list[MqttDoor]":
    """None or one. Its check is needed: while its broker is away that door does no work, and what sensors send is held
    by nobody we know of."""
    if settings.mqtt_host is None:
        return []
    from driftline_ingest.mqtt import MqttDoor  # noqa: PLC0415 - a client that most have no use for

    return [MqttDoor(settings, door, streams)]
