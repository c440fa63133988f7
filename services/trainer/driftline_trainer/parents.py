"""Which published versions a training goes on from, and is compared with."""

from datetime import datetime

from driftline.errors import RefusedModel
from driftline.fleet.quarantine import quarantine_of
from driftline.models import manifest as manifests
from driftline.models.signing import Trust
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline.versions.files import MODEL_LIMIT, WEIGHTS_LIMIT, file_of
from driftline.versions.releases import Current, current


class Parents:
    """trust: whose quarantines count."""

    def __init__(self, store: Store, trust: Trust) -> None:
        self._store = store
        self._trust = trust

    async def to_fine_tune(self, stream: StreamDefinition, speed: Current | None) -> Current:
        """What all edges run, never a version on trial, whose faults later ones would inherit. One that was taken back
        is no good beginning. Raises RefusedModel."""
        batch = await current(self._store, stream.name, "batch")
        good = [version if await self._is_good(stream, version) else None for version in (speed, batch)]
        parent = _newer(*good)
        if parent is None:
            raise RefusedModel(
                "parent",
                "found no model of this stream's definition, expected one to fine-tune from: train a batch model",
            )
        return parent

    async def _is_good(self, stream: StreamDefinition, version: Current | None) -> bool:
        if version is None or not fits(version, stream):
            return False
        name = (stream.name, version.manifest.member, version.version)
        return await quarantine_of(self._store, *name, self._trust) is None

    async def weights(self, stream: StreamDefinition, version: Current) -> bytes:
        """weights.npz of a version."""
        key = manifests.weights_key(stream.name, version.manifest.member, version.version)
        return await file_of(self._store, key, WEIGHTS_LIMIT, "parent")

    async def model(self, stream: StreamDefinition, version: Current | None) -> bytes | None:
        """The model behind a version, when it can be compared with a new one."""
        if version is None or not fits(version, stream):
            return None
        key = manifests.model_key(stream.name, version.manifest.member, version.version)
        return await file_of(self._store, key, MODEL_LIMIT, "parent")


def fits(version: Current | None, stream: StreamDefinition) -> bool:
    """Whether it was made for the stream as it is defined now, by a trainer, so that it can be trained on."""
    if version is None or version.manifest.architecture == manifests.IMPORTED:
        return False
    return version.manifest.definition == stream.fingerprint


def _newer(speed: Current | None, batch: Current | None) -> Current | None:
    """The speed model goes on from itself, until a batch model takes over that came to all edges after it was made."""
    if speed is None or batch is None:
        return speed or batch
    tuned = datetime.fromisoformat(speed.manifest.created).timestamp()
    # Whole seconds, as manifests have them. A batch model may have been on trial for long after it was made.
    return batch if int(batch.since) > tuned else speed
