"""What an idle edge costs: the bytes that its heartbeats put into the store in a day, and its requests."""

import secrets
from pathlib import Path

import pytest

from driftline.bus.memory import MemoryBus
from driftline.fleet.heartbeat import Comparison, Heartbeat, ModelHealth, StreamHealth, model_name
from driftline.fleet.notes import packed, sealed
from driftline.members import MODELS
from driftline.metrics import Metrics
from driftline.models.signing import Signer, new_key
from driftline.service.reports import new_boot
from driftline.store.folder import FolderStore
from driftline.streams.definition_files import parse
from driftline_inference.app import create_app
from driftline_inference.settings import InferenceSettings

HEARTBEATS_A_DAY = 24 * 60
MOST_A_DAY = 2_000_000
SIGNER = Signer(new_key())


def version(number: int) -> str:
    return f"v{number:06d}-{secrets.token_hex(6)}"


def stream(number: int) -> str:
    return ("outdoor-temperature", "active-power", "cellar-humidity")[number % 3] + f"-{number}" * (number > 2)


def health(number: int) -> StreamHealth:
    horizon = ("1", "6", "36")
    skill = {h: 0.1 + secrets.randbelow(5000) / 1e4 for h in horizon}
    coverage = {h: 0.88 + secrets.randbelow(400) / 1e4 for h in horizon}
    return StreamHealth(
        keys=4 + number,
        newest=1_774_000_000_000 + number,
        scored=secrets.randbelow(10**6),
        skill=skill,
        coverage=coverage,
    )


def model() -> ModelHealth:
    serving, former = version(42), version(41)
    over = Comparison(new=serving, old=former, truths=2000, log_worse=-3.1416, log_not_worse=4.2042, over=True)
    return ModelHealth(
        version=serving,
        since=1_774_000_000.123,
        why="named by the store's pointer",
        former=former,
        named=serving,
        comparisons=[over],
    )


def heartbeat(streams: int) -> Heartbeat:
    """As an edge writes it whose models serve, with nothing wrong."""
    names = [stream(number) for number in range(streams)]
    return Heartbeat(
        edge="k3f9a1x0q7bz",
        name="pi-7",
        labels={"site": "north", "roof": "flat"},
        boot=new_boot(),
        number=12_345,
        started=1_774_000_000.123,
        at=1_774_000_060.456,
        every=60.0,
        software="0.2.0",
        clock_offset=0.1,
        disk_free=12_345_678_901,
        disk_total=31_234_567_890,
        memory=234_567_680,
        lag=3,
        streams={name: health(number) for number, name in enumerate(names)},
        models={model_name(name, member): model() for name in names for member in MODELS},
    )


def size(streams: int) -> int:
    """Bytes of the file in the store."""
    return len(packed(sealed(heartbeat(streams), SIGNER)))


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_the_heartbeats_of_an_idle_edge_are_at_most_2_mb_a_day(streams: int) -> None:
    assert size(streams) * HEARTBEATS_A_DAY <= MOST_A_DAY


def test_packing_halves_a_heartbeat() -> None:
    plain = len(sealed(heartbeat(2), SIGNER))
    assert size(2) < 0.55 * plain


async def test_a_look_at_the_pointers_costs_one_request_a_model_and_nothing_else(tmp_path: Path) -> None:
    streams = {
        name: parse(f"name: {name}\ntime: {{column: t, period: 1h}}\ntarget: y\n", f"{name}.yaml") for name in "ab"
    }
    app = create_app(InferenceSettings(cache=None), MemoryBus(), FolderStore(tmp_path), streams=streams)
    for looks in (1, 2, 3):
        await app.state.reconciler.reconcile()
        assert requests(app.state.metrics) == looks * len(streams) * len(MODELS)


def requests(metrics: Metrics) -> float:
    """To the store, so far."""
    samples = (sample for family in metrics.registry.collect() for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == "driftline_store_seconds_count")
