"""A new device takes an old edge's place, with the settings of the environment."""

import time
from typing import Final

from driftline.bus.kafka import KafkaBus
from driftline.errors import BusUnavailable, InvalidInput, Unavailable
from driftline.fleet.replacing import Replacement, replace
from driftline.service.ports import open_store
from driftline.service.setting_checks import variable
from driftline_cli.backups import key_of
from driftline_cli.kafka_backup import refuse_at_work
from driftline_edge.app import open_edge_bus
from driftline_edge.settings import AllSettings, read_all

HOUR_S: Final = 3600


async def take_over(old: str, *, force: bool = False) -> str:
    """What was done, in a sentence. Raises as `driftline.fleet.replacing.replace` does."""
    replacement = await replaced(read_all(), old, force=force)
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(replacement.at))
    return (
        f"this device is the edge {replacement.edge} now, with {replacement.states} states of {when} UTC (release "
        f"{replacement.software}); never switch the old device on again with its old data"
    )


async def replaced(settings: AllSettings, old: str, *, force: bool = False) -> Replacement:
    """The same with these settings."""
    key = key_of(settings.edge.fleet_key_file)
    if key is None:
        raise InvalidInput(f"{variable('fleet_key_file')}: found nothing, expected the file of the fleet's key")
    store = open_store(settings.inference)
    try:
        try:
            bus = open_edge_bus(settings.edge)
        except BusUnavailable as error:
            raise Unavailable(str(error)) from error
        try:
            if isinstance(bus, KafkaBus):
                await refuse_at_work(bus)
            return await replace(old, bus, store, key, partitions=settings.edge.partitions, force=force)
        finally:
            await bus.close()
    finally:
        await store.close()
