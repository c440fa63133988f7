"""Models that are tried out on this machine, in a TensorFlow Lite runtime.

One that was made elsewhere is published, one in the store is checked as an edge would check it.
"""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from driftline.errors import InvalidInput, NotFound
from driftline.fleet.reading import StoreHeartbeats, counted_on
from driftline.fleet.rollout import first_trial
from driftline.models.manifest import ColumnScaling, Manifest, Trial
from driftline.service.model_settings import SigningSettings, TrustSettings
from driftline.store.port import Store
from driftline.streams import definition_files
from driftline.streams.definition import StreamDefinition
from driftline.versions import fetching, releases
from driftline.versions.importing import Meaning, import_model
from driftline_cli.versions import current, opened, settings_of

KIBIBYTE = 1024


def scaling_of(path: Path) -> ColumnScaling:
    """Raises InvalidInput."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ColumnScaling)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: expected JSON with offset, scale, target_offset, target_scale: {error}") from error


async def bring(stream: StreamDefinition, member: str, model: bytes, meaning: Meaning, url: str | None) -> Manifest:
    """Publishes it in the store at `url`, signed with the environment's key."""
    settings = settings_of(SigningSettings, url)
    async with opened(settings) as store:
        trial = await _trial(store, stream, member)
        return await import_model(
            store, stream, member, model, meaning, signer=settings.signer(), now=time.time(), trial=trial
        )


async def _trial(store: Store, stream: StreamDefinition, member: str) -> Callable[[str], Trial | None]:
    """By the version's name, which edges try it first, where the version before can serve the others."""
    before = await releases.current(store, stream.name, member)
    if before is None or before.manifest.definition != stream.fingerprint:
        return lambda _: None
    view = StoreHeartbeats(store)
    edges = counted_on(view, await view.look(), stream.name, member)
    rollout = stream.rollout
    return lambda version: first_trial(rollout.stages_of(member), rollout.first, version, edges, time.time())


async def verify(name: str, member: str, version: str | None, url: str | None) -> str:
    """What there is to say of a version that passes. Raises RefusedModel, NotFound, InvalidInput."""
    settings = settings_of(TrustSettings, url)
    streams = definition_files.load_folder(settings.streams)
    if name not in streams:
        raise InvalidInput(f"found stream {name!r}, expected one of {sorted(streams)}")
    async with opened(settings) as store:
        wanted = version or await current(store, name, member)
        if wanted is None:
            raise NotFound(f"found no current version of {name}.{member}, expected one")
        files = await fetching.fetch(
            store, streams[name], member, wanted, trust=settings.trust(), limit=settings.model_limit
        )
    fetching.load(files)
    size = len(files.model_file) / KIBIBYTE
    return f"{name}.{member} {wanted}: {size:.0f} KiB, signed, whole, and gives its golden outputs"
