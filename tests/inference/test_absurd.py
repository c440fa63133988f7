"""Pointers and marks of absurd size: refused before they are remembered, and shown cut."""

import pytest

from driftline.errors import NotFound
from driftline.models import manifest as manifests
from driftline.models.manifest import Pointer
from driftline.models.signing import Trust
from driftline_inference.registry.state import REFUSED_REMEMBERED, ModelState
from tests.inference.conftest import SIGNER, TRUST, new_models, put

LARGE = 20_000_000


async def test_a_pointer_of_absurd_size_is_refused_and_not_remembered(store, stream, versions):
    models = new_models(store, stream)
    first = await put(store, stream, versions[0])
    await models.reconcile()
    key = manifests.pointer_key(stream.name, "batch")
    for name in ("v" * LARGE, "v" * 3000):
        await store.put(key, manifests.encode(Pointer(name)))
        await models.reconcile()
        await models.reconcile()
    standing = models.registry.state(stream.name, "batch")
    assert (standing.version, standing.named) == (first, first)
    assert len(standing.refused) == 2
    assert "bytes, expected at most 4096 bytes" in standing.refused["unknown"]
    assert max(len(text) for refused in standing.refused.items() for text in refused) < 500
    await store.delete(key)
    second = await put(store, stream, versions[1])
    await models.reconcile()
    assert models.registry.state(stream.name, "batch").version == second


@pytest.mark.parametrize("trust", [TRUST, Trust([SIGNER.public], unsigned=True)])
async def test_a_quarantine_mark_of_absurd_size_keeps_its_version_out_where_everybodys_does(
    store, stream, versions, trust: Trust
):
    version = await put(store, stream, versions[0])
    await store.put(manifests.quarantine_key(stream.name, "batch", version), b"x" * LARGE)
    models = new_models(store, stream, trust)
    await models.reconcile()
    standing = models.registry.state(stream.name, "batch")
    is_refused = standing.refused.get(version, "").startswith("quarantine: ")
    assert (standing.version, is_refused) == ((None, True) if trust.believes_unsigned else (version, False))


async def test_a_manifest_of_absurd_size_is_refused(store, stream, versions):
    version = await put(store, stream, versions[0])
    await store.put(manifests.manifest_key(stream.name, "batch", version), b"x" * LARGE)
    models = new_models(store, stream)
    await models.reconcile()
    assert "expected at most 16777216 bytes" in models.registry.state(stream.name, "batch").refused[version]


async def test_a_model_larger_than_its_manifest_says_is_not_fetched(store, stream, versions):
    version = await put(store, stream, versions[0])
    await store.put(manifests.model_key(stream.name, "batch", version), bytes(65 * 1024 * 1024))
    models = new_models(store, stream)
    await models.reconcile()
    assert models.registry.state(stream.name, "batch").refused[version].startswith("size: ")


def test_of_many_refused_versions_the_latest_are_remembered(stream):
    standing = ModelState(stream, "batch")
    for n in range(3 * REFUSED_REMEMBERED):
        assert standing.remember(f"v{n:06d}", "x" * 10_000)
    assert not standing.remember(f"v{3 * REFUSED_REMEMBERED - 1:06d}", "again")
    assert len(standing.refused) == REFUSED_REMEMBERED
    assert f"v{3 * REFUSED_REMEMBERED - 1:06d}" in standing.refused
    assert max(map(len, standing.refused.values())) == 1000


@pytest.mark.parametrize("name", ["v" * 5000, f"v{'9' * 5000}-0123456789ab", "../../secret", "\0"])
async def test_what_is_no_versions_name_is_shown_cut_and_never_asked_for(store, stream, name: str):
    models = new_models(store, stream)
    with pytest.raises(NotFound) as error:
        await models.reconciler.pin(stream.name, "batch", name)
    assert len(str(error.value)) < 400
