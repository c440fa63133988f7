"""Joins this device to a fleet, and fetches what it works with: definitions and models."""

import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from driftline.bus.embedded import EmbeddedSettings
from driftline.errors import Conflict, InvalidInput, NotFound, RefusedModel, RefusedNote, Unavailable
from driftline.files import make_folder
from driftline.fleet import enrolment
from driftline.fleet.device import Device, Joined
from driftline.fleet.enrolment import Wish
from driftline.fleet.own_id import id_of_data
from driftline.members import MODELS
from driftline.models import manifest as manifests
from driftline.models.manifest import Pointer, Usage
from driftline.service.join_fleet import host_name, mistakes
from driftline.store.folder import FolderStore
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline.streams.folder import DefinitionFolder
from driftline.versions.fetching import fetch
from driftline.versions.files import find


@dataclass(frozen=True)
class Asked:
    """What the command was given. name: None for the host's."""

    url: str
    token: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    edge: str | None = None
    ca_file: Path | None = None


@dataclass(frozen=True)
class JoinOutcome:
    """What the device is now, and what it still lacks, a sentence each."""

    joined: Joined
    notes: list[str]


async def join(data: Path, asked: Asked, *, models: bool = True) -> JoinOutcome:
    """Raises InvalidInput, NotAdmitted, NotAllowed, Conflict, Unavailable; done again it goes on where it ended."""
    if wrong := mistakes(asked.url, asked.ca_file, plain=os.environ.get("DRIFTLINE_STORE_PLAIN") == "true"):
        raise InvalidInput("\n".join(wrong))
    device, url = Device(data), asked.url.rstrip("/")
    _refuse_other(device, url)
    if asked.ca_file is not None:
        device.keep_authorities(asked.ca_file)
    edge = asked.edge or (await id_of_data(data, _partitions()) if device.credential() is None else None)
    name = asked.name or host_name()
    make_folder(data)
    try:
        joined = await enrolment.join(device, url, asked.token, Wish(name, asked.labels, edge))
        return JoinOutcome(joined, [note async for note in _fetch(data, device, joined, models=models)])
    finally:
        give_to_owner(data)


async def refuse_data_of_others(data: Path, edge: str) -> bool:
    """Whether the folder has the data of this edge already. Raises InvalidInput for those of another one, before a
    token is used up: what it has learned is no other's."""
    known = await id_of_data(data, _partitions())
    if known not in {None, edge}:
        raise InvalidInput(f"{data}: found the data of edge {known}, expected an empty data folder for {edge!r}")
    return known == edge


async def rotate(data: Path) -> None:
    """Raises InvalidInput where this device has not joined, and as `driftline.fleet.enrolment.rotate`."""
    device = Device(data)
    joined = device.joined()
    if joined is None:
        raise InvalidInput(f"{data}: found no device that has joined a fleet: `driftline edge join URL`")
    try:
        await enrolment.rotate(device, joined)
    finally:
        give_to_owner(data)


def give_to_owner(data: Path) -> None:
    """What root has written belongs to whoever owns the folder: the edge runs as another user."""
    owner = data.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for folder in (data / "fleet", data / "definitions", data / "cache", data / "bus"):
        for path in (folder, *folder.rglob("*")) if folder.exists() else ():
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _partitions() -> int:
    return int(os.environ.get("DRIFTLINE_PARTITIONS") or EmbeddedSettings.partitions)


def _refuse_other(device: Device, url: str) -> None:
    joined = device.joined()
    if joined is not None and joined.url != url:
        raise InvalidInput(
            f"found this device in the fleet at {joined.url}, expected {url}: remove {device.folder} to leave that one"
        )


async def _fetch(data: Path, device: Device, joined: Joined, *, models: bool) -> AsyncIterator[str]:
    """Fetches definitions and models; gives what could not be fetched now: the edge does so when it runs."""
    store = enrolment.store_of(device, joined)
    try:
        await enrolment.fetch_definitions(device, store)
        if models:
            definitions = DefinitionFolder(device.definitions).look(settled=True).definitions
            cache = FolderStore(data / "cache")
            for stream in definitions.values():
                for note in await _fetch_models(device, joined, store, cache, stream):
                    yield note
    except (RefusedNote, Unavailable) as error:
        yield f"{error}; the edge tries it again when it runs"
    finally:
        await store.close()


async def _fetch_models(
    device: Device, joined: Joined, store: Store, cache: FolderStore, stream: StreamDefinition
) -> list[str]:
    notes = []
    for member in MODELS:
        name = stream.name, member
        try:
            pointer = await find(store, manifests.pointer_key(*name), Pointer, "pointer")
            files = await fetch(store, stream, member, pointer.version, trust=device.trust())
        except NotFound:
            continue
        except RefusedModel as error:
            notes.append(f"{stream.name}.{member}: {error}")
            continue
        usage = Usage(joined.edge, pointer.version, None, pinned=False, since=time.time(), name=joined.name)
        await cache.put(manifests.model_key(*name, pointer.version), files.model_file)
        await cache.put(manifests.manifest_key(*name, pointer.version), files.manifest_file)
        with suppress(Conflict):  # what an edge has served here counts for more
            await cache.put(manifests.pointer_key(*name), manifests.encode(usage), if_absent=True)
    return notes
