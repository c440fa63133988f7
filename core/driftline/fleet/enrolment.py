"""How this device becomes one of the fleet. Ended at any point and done again, it comes to the same."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from driftline.errors import InvalidInput, NotAdmitted, NotFound, RefusedNote
from driftline.files import make_folder, replace_file
from driftline.fleet.cloud import CloudDoor
from driftline.fleet.definitions import KEY, LIMIT, DefinitionBundle, read_bundle
from driftline.fleet.device import Device, Joined
from driftline.fleet.registration import JoinRequest, Provision, RotationRequest, digest_of, read_bearer
from driftline.store.door import DoorSettings, DoorStore
from driftline.store.port import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wish:
    """What a device says of itself when it asks to join."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    edge: str | None = None
    """The id that it has already."""


async def join(device: Device, url: str, token: str | None, wish: Wish) -> Joined:
    """Joins the fleet of the cloud at `url`, or looks again what that gives to this device. token: needed where the
    cloud does not know the device. Raises as `CloudDoor` does."""
    async with CloudDoor(url, device.ca_file) as cloud:
        provision = await _known(device, cloud, token)
        if provision is None:
            provision = await _admitted(device, cloud, token, wish)
    if wish.edge not in {None, provision.edge}:
        raise InvalidInput(
            f"found this device in the fleet as {provision.edge}, expected {wish.edge}, whose data it has"
        )
    return device.provisioned(url, provision)


async def _known(device: Device, cloud: CloudDoor, token: str | None) -> Provision | None:
    """What the device gets by the credential that it has; None where it must join first."""
    shown = device.credential()
    if shown is None:
        return None
    try:
        return await cloud.provision(shown)
    except NotAdmitted:
        if token is None:
            raise
        # Revoked, or of another fleet: with a token it begins anew, and under another key.
        device.forget_credential()
        return None


async def _admitted(device: Device, cloud: CloudDoor, token: str | None, wish: Wish) -> Provision:
    if token is None:
        raise InvalidInput("found no join token, expected one: `driftline edge token` makes it where the trainer is")
    signer = device.signer()
    request = JoinRequest(
        token=digest_of(token),
        public_key=signer.public,
        credential=digest_of(device.secret()),
        edge=wish.edge,
        name=wish.name,
        labels=dict(wish.labels),
    )
    try:
        msgspec.json.decode(msgspec.json.encode(request), type=JoinRequest)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"name and labels: {error}") from error
    return await cloud.provision(device.admitted(await cloud.join(token, request, signer)))


def store_of(device: Device, joined: Joined) -> DoorStore:
    """The object store as this device reaches it."""
    return DoorStore(DoorSettings(joined.url, token_file=device.credential_file, ca_file=device.ca_file))


async def fetch_definitions(device: Device, store: Store) -> DefinitionBundle | None:
    """Takes in the cloud's definitions where they are others than before; None where nothing has changed. Raises
    RefusedNote, and nothing changes; StoreUnavailable."""
    try:
        stored = await store.get(KEY, limit=LIMIT)
    except NotFound:
        return None
    assert stored is not None, "only a conditional get may answer with nothing"  # noqa: S101
    return await asyncio.to_thread(take_in, device, stored.body)


def take_in(device: Device, payload: bytes) -> DefinitionBundle | None:
    """Writes the definitions of a signed bundle; None where they are there already. Raises RefusedNote."""
    former = _former(device)
    bundle = read_bundle(payload, device.trust(), newest=former.number if former else 0)
    joined = device.joined()
    files = bundle.files_for(joined.edge, joined.labels) if joined is not None else bundle.files
    if former == bundle and _are_there(device.definitions, files):
        return None
    make_folder(device.definitions)
    for name, text in files.items():
        replace_file(device.definitions / name, text.encode(), mode=0o644)
    for path in device.definitions.glob("*.yaml"):
        if path.name not in files:
            path.unlink()
    # Last: if the power is cut before, all of it is done again.
    replace_file(device.bundle_file, payload)
    return bundle


def _former(device: Device) -> DefinitionBundle | None:
    """The bundle that was taken in last; None for one that was spoilt meanwhile."""
    if not device.bundle_file.exists():
        return None
    try:
        return read_bundle(device.bundle_file.read_bytes(), device.trust())
    except RefusedNote as error:
        log.warning("%s: the definitions there count no more: %s", device.bundle_file, error)
        return None


def _are_there(folder: Path, files: Mapping[str, str]) -> bool:
    names = {path.name for path in folder.glob("*.yaml")}
    return names == set(files) and all((folder / name).read_bytes() == text.encode() for name, text in files.items())


async def rotate(device: Device, joined: Joined) -> None:
    """Takes another credential. Whenever it ends before its end, the former one is good, or the next one is. Raises as
    `CloudDoor` does."""
    async with CloudDoor(joined.url, device.ca_file) as cloud:
        shown = device.credential()
        read = read_bearer(shown or "")
        if shown is None or read is None:
            raise InvalidInput(f"{device.credential_file}: found no credential, expected the one of {joined.edge}")
        request = RotationRequest(
            edge=joined.edge, former=digest_of(read[1]), credential=digest_of(device.next_secret())
        )
        await cloud.rotate(shown, request, device.signer())
        device.rotated(joined.edge)
        await cloud.provision(device.credential() or "")  # shown once, it is the only one
