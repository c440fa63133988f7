"""Backtest: the services' own code over recorded data, scored. Nothing is computed here a second time."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from driftline.metrics import Metrics
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli import drifts
from driftline_cli.chain import Chain, CollectedOutputs, ModelSwap, running_chain
from driftline_cli.drift_kinds import Kind
from driftline_cli.evaluate import Score, WindowScore, outcome, scores, windows
from driftline_cli.progress import Progress


class HorizonReport(msgspec.Struct, frozen=True):
    """The scores of one horizon, by member, strategy, and `blend` for what was published."""

    rows: dict[str, Score]
    windows: list[WindowScore]


class Report(msgspec.Struct, frozen=True):
    """What a run gave. `rows` and `windows` are those of the first horizon."""

    stream: str
    drift: str
    seed: int
    rows: dict[str, Score]
    windows: list[WindowScore]
    horizons: dict[str, HorizonReport]
    records: int
    swaps: int
    retrains: int
    drift_alerts: int
    seconds: float


@dataclass(frozen=True)
class Run:
    """A finished run, with all that was published."""

    report: Report
    collected: CollectedOutputs
    swaps: list[ModelSwap]
    latencies: dict[str, Metrics]


async def backtest(
    stream: StreamDefinition,
    train: Rows,
    test: Rows,
    *,
    drift: Kind = "none",
    magnitude: float | None = None,
    seed: int = 0,
    progress: Progress = lambda _what, _done, _total: None,
    store: Path | None = None,
) -> Run:
    """Trains on `train`, streams `test` with the drift through the whole chain, and scores every row.

    store: the folder that becomes the object store; by default one that is gone afterwards.
    """
    with tempfile.TemporaryDirectory() as scratch:
        async with running_chain({stream.name: stream}, store or Path(scratch)) as chain:
            return await drive(
                chain,
                stream,
                train,
                drifts.apply(drift, test, stream, history=train, magnitude=magnitude, seed=seed),
                drift=drift,
                seed=seed,
                progress=progress,
            )


async def drive(
    chain: Chain,
    stream: StreamDefinition,
    train: Rows,
    test: Rows,
    *,
    drift: str,
    seed: int,
    progress: Progress,
) -> Run:
    """Runs a chain through training and streaming, and scores what it published."""
    began = time.monotonic()
    progress("training the batch model on history", 0, 1)
    await chain.train(stream, train)
    progress("training the batch model on history", 1, 1)
    async for done in chain.stream(stream, test):
        progress("streaming, retraining and swapping", done, len(test))
    horizons = {str(h): _score(chain, stream, index) for index, h in enumerate(stream.horizon)}
    first = horizons[str(stream.horizon[0])]
    report = Report(
        stream=stream.name,
        drift=drift,
        seed=seed,
        rows=first.rows,
        windows=first.windows,
        horizons=horizons,
        records=len(chain.collected.blends),
        swaps=len(chain.swaps),
        retrains=chain.retrains,
        drift_alerts=sum(alert.kind == "drift" for alert in chain.collected.alerts),
        seconds=round(time.monotonic() - began, 2),
    )
    return Run(report, chain.collected, chain.swaps, dict(chain.metrics))


def _score(chain: Chain, stream: StreamDefinition, index: int) -> HorizonReport:
    scored = outcome(chain.collected.blends, index, stream)
    return HorizonReport(scores(scored), windows(scored, stream.retraining.every))
