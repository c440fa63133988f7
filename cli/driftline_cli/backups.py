"""Backs an edge up into a file and restores it from one, while nothing works on its bus.

Of an embedded bus all files are kept, so an edge that is restored goes on with the next record. Of Kafka the states are
kept: its topics are the broker's to keep.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.bus.embedded.folder import lock_folder
from driftline.errors import BusUnavailable, InvalidInput, NotFound, RefusedBackup, Unavailable, UnusableData
from driftline.files import make_folder, replace_file, sync_folder
from driftline.fleet import replacing
from driftline.fleet.sealing import FleetKey
from driftline.service.ports import open_bus
from driftline.service.setting_checks import PREFIX, variable
from driftline.service.setting_names import OF_DOORS
from driftline_cli import backup_file, kafka_backup
from driftline_cli.backup_file import BackupHeader, Source
from driftline_edge.settings import AllSettings

BUS, CACHE, DEFINITIONS = "bus", "cache", "streams"
"""Folders in a backup."""
SETTINGS: Final = "settings.env"
"""What was set when it was made, but for secrets."""
STAGE: Final = ".restore"
"""In the data folder: what is not whole yet."""
RESTORED: Final = "restored.env"


@dataclass(frozen=True)
class Restored:
    """What was put where. kept_definitions: files that were there already, with another content."""

    header: BackupHeader
    kept_definitions: list[str]
    settings: Path


def key_of(path: Path | None) -> FleetKey | None:
    """Raises InvalidInput."""
    if path is None:
        return None
    try:
        return FleetKey.read(path)
    except InvalidInput as error:
        raise InvalidInput(f"{variable('fleet_key_file')}: {error}") from error


async def backup(settings: AllSettings, file: Path) -> BackupHeader:
    """Raises NotFound where there is no edge, Unavailable while it runs or where the disk is full, InvalidInput."""
    key = key_of(settings.edge.fleet_key_file)
    if settings.edge.bus == "kafka":
        return await _of_kafka(settings, file, key)
    with_bus = _opened(settings.edge.embedded)
    try:
        edge = await replacing.id_on(with_bus)
        sources = {**_bus_files(settings.edge.embedded.folder), **_others(settings)}
        return await asyncio.to_thread(_write, settings, file, edge, sources, key)
    finally:
        await with_bus.close()


def _opened(settings: EmbeddedSettings) -> EmbeddedBus:
    """Holds the folder, so that nothing changes in it."""
    if not (settings.folder / "format.json").is_file():
        raise NotFound(f"{settings.folder}: found no edge's data (DRIFTLINE_DATA, --folder)")
    try:
        return EmbeddedBus(settings)
    except BusUnavailable as error:
        # There is no broker that would have to be started.
        raise Unavailable(str(error)) from error


async def _of_kafka(settings: AllSettings, file: Path, key: FleetKey | None) -> BackupHeader:
    kept = await kafka_backup.read(settings.edge)
    sources = {**kafka_backup.state_files(kept.states), **_others(settings)}
    return await asyncio.to_thread(_write, settings, file, kept.id, sources, key, kept.waiting)


def _write(
    settings: AllSettings, file: Path, edge: str, sources: Mapping[str, Source], key: FleetKey | None, waiting: int = 0
) -> BackupHeader:
    header = BackupHeader(
        version=backup_file.VERSION,
        edge=edge,
        at=time.time(),
        software=version("driftline"),
        bus=settings.edge.bus,
        partitions=settings.edge.partitions,
        waiting=waiting,
        files=backup_file.describe(sources),
    )
    backup_file.write(file, header, sources, key)
    return header


def _bus_files(folder: Path) -> dict[str, Source]:
    return {f"{BUS}/{path.name}": path for path in [folder / "format.json", *sorted(folder.glob("*.log"))]}


def _others(settings: AllSettings) -> dict[str, Source]:
    """Models, definitions and settings."""
    sources: dict[str, Source] = {}
    if (cache := settings.inference.cache) is not None:
        sources |= _below(cache, CACHE)
    for path in sorted(settings.edge.streams.glob("*.y*ml")):
        sources[f"{DEFINITIONS}/{path.name}"] = path
    lines = (f"{name}={value}\n" for name, value in public_settings(settings, os.environ))
    return sources | {SETTINGS: "".join(lines).encode()}


def _below(folder: Path, name: str) -> dict[str, Source]:
    """Without hidden files: locks, and what was being written."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {f"{name}/{path.relative_to(folder).as_posix()}": path for path in paths}


def public_settings(settings: AllSettings, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables that are settings of an edge and no secrets."""
    kinds = (settings.edge, settings.ingest, settings.inference, settings.combiner)
    fields = {name: field for kind in kinds for name, field in type(kind).model_fields.items()}
    own = {f"{service}_{name}": name for service in ("ingest", "inference", "combiner") for name in OF_DOORS}
    for name, value in sorted(environment.items()):
        short = name.removeprefix(PREFIX).lower()
        field = fields.get(own.get(short, short)) if name.startswith(PREFIX) else None
        if field is not None and SecretStr.__name__ not in repr(field) and not _has_password(value):
            yield name, value


def _has_password(value: str) -> bool:
    try:
        return urlsplit(value).password is not None or "\n" in value
    except ValueError:
        return True


async def restore(settings: AllSettings, file: Path) -> Restored:
    """Onto a device without an edge. Whoever is interrupted begins again. Raises InvalidInput and RefusedBackup before
    anything is there, and Unavailable."""
    key, data = key_of(settings.edge.fleet_key_file), settings.edge.data
    if settings.edge.bus == "embedded":
        _refuse_used(settings.edge.embedded)
    stage = data / STAGE
    make_folder(data)
    shutil.rmtree(stage, ignore_errors=True)
    make_folder(stage, mode=0o700)
    try:
        header = await asyncio.to_thread(backup_file.unpack, file, key, stage)
        if header.bus != settings.edge.bus:
            raise InvalidInput(
                f"{file}: found a backup of DRIFTLINE_BUS={header.bus}, expected one of {settings.edge.bus}"
            )
        if header.partitions != settings.edge.partitions:
            raise InvalidInput(
                f"{file}: found {header.partitions} partitions, expected {settings.edge.partitions}: set "
                f"DRIFTLINE_PARTITIONS={header.partitions}"
            )
        put = _onto_folder if header.bus == "embedded" else _onto_kafka
        kept = await put(settings, header, stage)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return Restored(header, kept, data / RESTORED)


def _refuse_used(settings: EmbeddedSettings) -> None:
    if not settings.folder.exists():
        return
    try:
        lock = lock_folder(settings)
    except BusUnavailable as error:
        raise Unavailable(str(error)) from error
    os.close(lock)
    if any(settings.folder.glob("*.log")):
        raise InvalidInput(
            f"{settings.folder}: found an edge's data, expected none: move {settings.folder.parent} to another place "
            "first, or name another folder"
        )
    # An edge had no room for its first message, or somebody made the folder.
    shutil.rmtree(settings.folder)


async def _check_bus(folder: Path, settings: AllSettings, header: BackupHeader) -> None:
    """Whether this release can go on from it."""
    try:
        bus = EmbeddedBus(replace(settings.edge.embedded, folder=folder))
    except (UnusableData, BusUnavailable) as error:
        raise RefusedBackup(f"what the backup holds can't be used: {error}") from error
    try:
        edge = await replacing.id_on(bus)
    finally:
        await bus.close()
    if edge != header.edge:
        raise RefusedBackup(f"found the edge {edge!r} in a backup of {header.edge!r}")


def _place_others(stage: Path, settings: AllSettings) -> list[str]:
    """Models, definitions and settings. Returns the definitions that stay as they are here."""
    cache = settings.inference.cache
    if cache is not None and (stage / CACHE).is_dir() and not cache.exists():
        make_folder(cache.parent)
        shutil.move(stage / CACHE, cache)
    kept = []
    for path in sorted((stage / DEFINITIONS).glob("*")):
        target = settings.edge.streams / path.name
        if target.exists():
            kept += [target.name] if target.read_bytes() != path.read_bytes() else []
            continue
        make_folder(target.parent)
        replace_file(target, path.read_bytes(), mode=0o644)
    replace_file(settings.edge.data / RESTORED, (stage / SETTINGS).read_bytes())
    return kept


async def _onto_folder(settings: AllSettings, header: BackupHeader, stage: Path) -> list[str]:
    await _check_bus(stage / BUS, settings, header)
    kept = await asyncio.to_thread(_place_others, stage, settings)
    # It comes last: without it there is no edge here, and all is done again.
    (stage / BUS).rename(settings.edge.embedded.folder)
    sync_folder(settings.edge.data)
    return kept


async def _onto_kafka(settings: AllSettings, header: BackupHeader, stage: Path) -> list[str]:
    states = kafka_backup.states_in(stage, header.partitions)
    bus = open_bus(settings.edge)
    try:
        await replacing.refuse_used(bus, header.edge)
        await kafka_backup.refuse_at_work(bus)
        kept = await asyncio.to_thread(_place_others, stage, settings)
        await replacing.take_up(bus, header.edge, states, header.partitions)
    finally:
        await bus.close()
    return kept
