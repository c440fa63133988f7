"""Swaps and refusals are counted by their reasons, from zero on."""

from driftline.errors import EDGE_REFUSALS
from driftline.metrics import Metrics
from driftline_inference.registry.state import CAUSES
from tests.inference.conftest import STRANGER, TRUST, put
from tests.models import Models


def counted(metrics: Metrics, what: str, stream: str) -> dict[str, float]:
    """By reason, of the batch member."""
    return {
        sample.labels["reason"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == f"driftline_{what}_total"
        and (sample.labels["stream"], sample.labels["member"]) == (stream, "batch")
    }


async def test_each_has_its_reason(store, stream, versions):
    metrics = Metrics()
    models = Models.on(store, stream, TRUST, metrics=metrics)
    assert counted(metrics, "models_refused", stream.name) == dict.fromkeys(EDGE_REFUSALS, 0)
    assert counted(metrics, "model_swaps", stream.name) == dict.fromkeys(CAUSES, 0)
    first = await put(store, stream, versions[0])
    await models.reconcile()
    await put(store, stream, versions[1], signer=STRANGER)
    await models.reconcile()
    assert counted(metrics, "models_refused", stream.name)["signature"] == 1
    second = await put(store, stream, versions[1])
    await models.reconcile()
    await models.reconciler.pin(stream.name, "batch", first)
    await models.reconciler.pin(stream.name, "batch", None)
    await models.reconcile()
    await models.reconciler.roll_back(stream.name, "batch", second, "worse")
    swaps = counted(metrics, "model_swaps", stream.name)
    assert swaps == {"pointer": 3, "pin": 1, "rollback": 1, "fallback": 0, "restart": 0, "rollout": 0}
