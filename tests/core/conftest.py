"""A manifest as the trainer writes them."""

import pytest

from driftline.models import manifest as manifests
from driftline.models.manifest import Golden, Manifest
from driftline.streams.definition import StreamDefinition

MODEL = b"model"
VERSION = manifests.version_name(42, MODEL)


@pytest.fixture
def manifest(temperature: StreamDefinition) -> Manifest:
    return Manifest(
        version=VERSION,
        stream=temperature.name,
        member="batch",
        sha256=manifests.digest(MODEL),
        size=len(MODEL),
        parent=None,
        definition=temperature.fingerprint,
        input_shape=(-1, 96),
        output_shape=(-1, 1),
        horizon=temperature.horizon,
        architecture="mlp",
        trained_from=0,
        trained_to=1,
        rows=10,
        metrics={"rmse": 1.0},
        golden=Golden([[0.0]], [[0.0]]),
        libraries={},
        created="2026-01-01T00:00:00+00:00",
    )
