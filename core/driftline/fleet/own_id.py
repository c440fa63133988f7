"""The id that an edge has given to itself, in the data that it has left."""

from pathlib import Path

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.errors import BusUnavailable, Unavailable
from driftline.messages import EDGE


async def id_of_data(data: Path, partitions: int) -> str | None:
    """None where no edge ever ran on the embedded bus below `data`. Raises Unavailable while one does."""
    if not (data / "bus").exists():
        return None
    try:
        bus = EmbeddedBus(EmbeddedSettings(data / "bus", partitions=partitions))
    except BusUnavailable as error:
        raise Unavailable(f"{error}; stop the edge, join, and start it again") from error
    try:
        ids = await bus.read(EDGE)
    finally:
        await bus.close()
    return ids[0].value.id if ids else None
