"""Two trained versions, a store to publish them in, and models that follow it."""

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from fastapi import FastAPI

from driftline.bus.memory import MemoryBus
from driftline.models.signing import Signer, Trust, new_key
from driftline.store.folder import FolderStore
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline.streams.tables import read_file
from driftline.versions.releases import current
from driftline_inference.app import create_app
from driftline_inference.registry.cache import Cache
from driftline_inference.settings import InferenceSettings
from driftline_trainer.fit import Task, Trained
from driftline_trainer.publish import publish
from tests.conftest import ROOT
from tests.models import Models
from tests.shared import Shared
from tests.trained import trained_once

SIGNER = Signer(new_key())
STRANGER = Signer(new_key())
TRUST = Trust([SIGNER.public])


T = TypeVar("T")
KEPT = ROOT / ".test-models"
"""Models of the last run that had TensorFlow, for the run with the other runtime, which has none."""


def kept(shared: Shared, name: str, make: Callable[[], T], kind: type[T]) -> T:
    """What `make` gives, which needs TensorFlow: once a run, or as the last run that had it has left it."""
    place = KEPT / f"{name}.msgpack"

    def keep(_: Path) -> None:
        KEPT.mkdir(exist_ok=True)
        place.write_bytes(msgspec.msgpack.encode(make()))

    if importlib.util.find_spec("tensorflow") is not None:
        shared.once(f"kept-{name}", keep)
    return msgspec.msgpack.decode(place.read_bytes(), type=kind)


@pytest.fixture(scope="module")
def stream(temperature: StreamDefinition) -> StreamDefinition:
    return temperature.model_copy(
        update={"training": temperature.training.model_copy(update={"epochs": 1, "units": (8,), "networks": 1})}
    )


@pytest.fixture(scope="module")
def versions(shared: Shared, stream: StreamDefinition) -> list[Trained]:
    rows: Rows = read_file(ROOT / "data" / "la-haute-borne.parquet", stream)
    parts = [rows.take(slice(0, count)) for count in (2000, 2400)]
    return [
        kept(shared, f"mlp-{len(part)}", partial(trained_once, shared, Task(stream, part)), Trained) for part in parts
    ]


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def new_models(store: Store, stream: StreamDefinition, trust: Trust = TRUST, cache: Cache | None = None) -> Models:
    return Models.on(store, stream, trust, cache=cache)


def app_of(store: Store, stream: StreamDefinition, cache: Path | None = None) -> FastAPI:
    """Inference of an edge that believes SIGNER, with the token `hush`."""
    settings = InferenceSettings(token="hush", trusted_keys=SIGNER.public, cache=cache)  # noqa: S106 - a test's
    return create_app(settings, MemoryBus(), store, streams={stream.name: stream})


async def put(store: Store, stream: StreamDefinition, trained: Trained, signer: Signer | None = SIGNER) -> str:
    before = await current(store, stream.name, "batch")
    made = await publish(
        store, stream, "batch", trained, signer=signer, before=before, parent=None, windows={}, now=0.0
    )
    return made.version
