"""Publishes what was trained as a model's next version; see `driftline.versions.releases`."""

from collections.abc import Callable
from datetime import UTC, datetime

from driftline.models import manifest as manifests
from driftline.models.manifest import Manifest, Trial
from driftline.models.signing import Signer
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline.versions.releases import Current, release
from driftline_trainer.fit import Trained


async def publish(
    store: Store,
    stream: StreamDefinition,
    member: str,
    trained: Trained,
    *,
    signer: Signer | None,
    before: Current | None,
    parent: str | None,
    windows: dict[str, str],
    now: float,
    trial: Callable[[str], Trial | None] = lambda _: None,
) -> Manifest:
    """Writes what was trained as the next version and points at it; see `driftline.versions.releases`."""

    def describe(version: str) -> Manifest:
        return _describe(stream, member, version, trained, parent, windows, now)

    return await release(
        store,
        stream.name,
        member,
        trained.model,
        describe,
        signer=signer,
        before=before,
        now=now,
        weights=trained.weights,
        trial=trial,
    )


def _describe(
    stream: StreamDefinition,
    member: str,
    version: str,
    trained: Trained,
    parent: str | None,
    windows: dict[str, str],
    now: float,
) -> Manifest:
    return Manifest(
        version=version,
        stream=stream.name,
        member=member,
        sha256=manifests.digest(trained.model),
        size=len(trained.model),
        parent=parent,
        definition=stream.fingerprint,
        input_shape=(-1, len(trained.golden.inputs[0])),
        output_shape=(-1, len(stream.horizon)),
        horizon=stream.horizon,
        architecture=stream.training.architecture,
        trained_from=trained.trained_from,
        trained_to=trained.trained_to,
        rows=trained.rows,
        sampled_from=trained.sampled_from,
        windows=windows,
        metrics=trained.metrics,
        golden=trained.golden,
        usual=trained.usual,
        libraries=trained.libraries,
        created=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
    )
