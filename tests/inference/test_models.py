"""Reconcile: what the pointer names is verified and swapped in; what can't be trusted is refused and remembered."""

import msgspec
import numpy as np
import pytest

from driftline.models import manifest as manifests
from driftline.models.manifest import Pointer
from driftline.models.signing import Signer, seal, unseal
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline.streams.features import Inputs
from driftline.streams.layout import Layout
from driftline_inference.settings import InferenceSettings
from tests.inference.conftest import SIGNER, STRANGER, TRUST, new_models, put
from tests.models import Models


async def point(store: FolderStore, stream: StreamDefinition, version: str) -> None:
    await store.put(manifests.pointer_key(stream.name, "batch"), manifests.encode(Pointer(version)))


async def test_without_any_model_nothing_serves_and_nothing_breaks(store, stream):
    models = new_models(store, stream)
    await models.reconcile()
    assert models.serving() == {}
    assert models.registry.state(stream.name, "batch").serving is None


async def test_a_published_version_is_swapped_in_and_so_is_its_successor(store, stream, versions):
    models = new_models(store, stream)
    first = await put(store, stream, versions[0])
    await models.reconcile()
    serving = models.serving()
    assert serving[stream.name, "batch"].version == first
    second = await put(store, stream, versions[1])
    await models.reconcile()
    assert models.serving()[stream.name, "batch"].version == second
    assert serving[stream.name, "batch"].version == first, "who began with the former set goes on with it"
    assert models.registry.state(stream.name, "batch").swaps == 2


async def test_a_pointer_that_did_not_move_is_not_fetched_again(store, stream, versions):
    models = new_models(store, stream)
    await put(store, stream, versions[0])
    await models.reconcile()
    loaded = models.serving()[stream.name, "batch"]
    await models.reconcile()
    assert models.serving()[stream.name, "batch"] is loaded


async def test_a_pointer_seen_before_its_version_is_looked_at_again(store, stream, versions):
    models = new_models(store, stream)
    version = manifests.version_name(1, versions[0].model)
    await point(store, stream, version)
    await models.reconcile()
    assert models.registry.state(stream.name, "batch").serving is None
    await store.delete(manifests.pointer_key(stream.name, "batch"))
    assert await put(store, stream, versions[0]) == version
    await models.reconcile()
    assert models.serving()[stream.name, "batch"].version == version


async def broken(store, stream, versions, change) -> tuple[Models, str, str]:
    """A good first version, then a second one that `change` has spoilt."""
    models = new_models(store, stream)
    good = await put(store, stream, versions[0])
    await models.reconcile()
    bad = await put(store, stream, versions[1])
    await change(store, stream, bad)
    await models.reconcile()
    return models, good, bad


async def flip_a_bit(store, stream, version) -> None:
    key = manifests.model_key(stream.name, "batch", version)
    body = bytearray((await store.get(key)).body)
    body[len(body) // 2] ^= 1
    await store.put(key, bytes(body))


async def truncate(store, stream, version) -> None:
    key = manifests.model_key(stream.name, "batch", version)
    await store.put(key, (await store.get(key)).body[:-10])


async def garble_the_manifest(store, stream, version) -> None:
    await store.put(manifests.manifest_key(stream.name, "batch", version), b"{")


async def promise_other_outputs(store, stream, version) -> None:
    key = manifests.manifest_key(stream.name, "batch", version)
    manifest = unseal((await store.get(key)).body)
    outputs = [[value + 1 for value in row] for row in manifest.golden.outputs]
    golden = msgspec.structs.replace(manifest.golden, outputs=outputs)
    await store.put(key, seal(msgspec.structs.replace(manifest, golden=golden), SIGNER))


async def reseal(store, stream, version, signer: Signer | None) -> None:
    key = manifests.manifest_key(stream.name, "batch", version)
    await store.put(key, seal(unseal((await store.get(key)).body), signer))


async def sign_by_a_stranger(store, stream, version) -> None:
    await reseal(store, stream, version, STRANGER)


async def leave_unsigned(store, stream, version) -> None:
    await reseal(store, stream, version, None)


async def change_after_signing(store, stream, version) -> None:
    key = manifests.manifest_key(stream.name, "batch", version)
    await store.put(key, (await store.get(key)).body.replace(b'"mlp"', b'"mlq"'))


async def point_at_nonsense(store, stream, version) -> None:
    await store.put(manifests.pointer_key(stream.name, "batch"), b'{"version": "../../etc"}')


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (flip_a_bit, "sha256"),
        (truncate, "size"),
        (garble_the_manifest, "manifest"),
        (promise_other_outputs, "golden"),
        (sign_by_a_stranger, "signature: found a signature by key"),
        (leave_unsigned, "signature: found no signature"),
        (change_after_signing, "signature: found a signature of other content"),
        (point_at_nonsense, "pointer"),
    ],
)
async def test_a_spoilt_version_is_refused_with_its_reason_and_the_former_goes_on(
    store, stream, versions, change, reason: str
):
    models, good, _ = await broken(store, stream, versions, change)
    assert models.serving()[stream.name, "batch"].version == good
    assert any(text.startswith(reason) for text in models.registry.state(stream.name, "batch").refused.values())


async def test_a_refused_version_is_remembered_and_a_good_one_after_it_serves(store, stream, versions):
    models, good, bad = await broken(store, stream, versions, flip_a_bit)
    await store.delete(manifests.model_key(stream.name, "batch", bad))
    await point(store, stream, good)
    await models.reconcile()
    await point(store, stream, bad)
    await models.reconcile()
    assert models.serving()[stream.name, "batch"].version == good
    assert list(models.registry.state(stream.name, "batch").refused) == [bad]


async def test_a_served_model_gives_what_the_trainer_saw(store, stream, versions):
    models = new_models(store, stream)
    await put(store, stream, versions[0])
    await models.reconcile()
    loaded = models.serving()[stream.name, "batch"]
    inputs = np.array(loaded.manifest.golden.inputs, dtype=np.float32)
    assert inputs.shape[1] == Layout.of(stream).net_width
    np.testing.assert_allclose(loaded.run(inputs), loaded.manifest.golden.outputs, atol=1e-6)


async def test_unsigned_models_serve_where_the_settings_allow_it(store, stream, versions):
    version = await put(store, stream, versions[0], signer=None)
    allowing = new_models(store, stream, InferenceSettings(allow_unsigned=True).trust())
    await allowing.reconcile()
    assert allowing.serving()[stream.name, "batch"].version == version
    refusing = new_models(store, stream, InferenceSettings().trust())
    await refusing.reconcile()
    assert refusing.serving() == {}


async def test_a_model_that_can_not_forecast_a_live_series_is_refused(store, stream, versions):
    good = await put(store, stream, versions[0])
    width = Layout.of(stream).net_width
    rows, nothing, ready = np.ones((3, width), np.float32), np.empty((3, 0, 0)), np.ones(3, dtype=bool)
    # Runtimes differ in what they make of NaN in a row, so it is the last value here.
    live = Inputs(rows, nothing, np.full(3, np.nan), np.ones(3), ready, nothing, nothing, nothing)
    seen: list[Inputs | None] = [None, live]
    models = Models.on(store, stream, TRUST, live=lambda _: seen.pop(0))
    await models.reconcile()
    bad = await put(store, stream, versions[1])
    await models.reconcile()
    assert models.serving()[stream.name, "batch"].version == good
    assert models.registry.state(stream.name, "batch").refused == {
        bad: "finite: found no finite forecast for 3 of 3 live series"
    }
