"""`make bench-fleet`: roll-outs over whole edges in one process, edges that are re-imaged, and what an idle one costs.

Prints the figures and writes them into docs/fleet.md. `EDGES`, `RUNS` (of each kind) and `MINUTES` may be given: no run
begins after so long.
"""

import asyncio
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from driftline_trainer.fit import Trained, train
from tests.bench.page import write_part
from tests.conftest import ROOT
from tests.fleet.linked_edges import LinkedEdge
from tests.fleet.linked_fleet import ArchivedRows, LinkedFleet, Reimaged, RolledOut
from tests.fleet.linked_models import fleet_stream, tasks

PAGE = ROOT / "docs" / "fleet.md"
EDGES, RUNS, MINUTES = 50, 20, 60.0
REIMAGED = 5
"""One edge in so many."""
SEED = 20
PART_OF_A_DAY = 10
"""A tenth of a day is measured, and counted ten times."""
HEARTBEATS, LOOKS, LEFT = 1440, 2880, 24
"""A day's, at the default settings."""


@dataclass(frozen=True)
class IdleDay:
    """What an idle edge asks of the store in a day. Bytes are those of bodies."""

    requests: dict[str, int]
    uploaded: int
    downloaded: int


@dataclass
class FleetFigures:
    """What was measured."""

    edges: int
    bad: list[RolledOut] = field(default_factory=list)
    good: list[RolledOut] = field(default_factory=list)
    reimaged: list[Reimaged] = field(default_factory=list)
    archived: ArchivedRows | None = None
    blended: int = 0
    doubled: int = 0
    cuts: int = 0
    idle: IdleDay | None = None
    seconds: float = 0.0


async def measured(edges: int, runs: int, minutes: float) -> FleetFigures:
    stream = fleet_stream()
    given = tasks(stream)
    serving, good, bad = (train(task) for task in (given.serving, given.good, given.bad))
    figures, began = FleetFigures(edges), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as scratch:
        async with LinkedFleet.opened(Path(scratch), stream, given.later, edges=edges, seed=SEED) as fleet:
            await fleet.begin(serving)
            turns = [good, serving]
            for run in range(runs):
                if time.monotonic() - began > minutes * 60:
                    break
                await _run(fleet, bad, turns[run % 2], figures)
            for name in list(fleet.edges)[: edges // REIMAGED]:
                figures.reimaged.append(await fleet.reimage(name))
            await fleet.turn()
            figures.archived = await fleet.archived()
            figures.blended = sum(len(edge.values) for edge in fleet.edges.values())
            figures.doubled = sum(edge.doubled for edge in fleet.edges.values())
            figures.cuts = fleet.cuts
            figures.idle = await idle_day(next(iter(fleet.edges.values())))
    figures.seconds = time.monotonic() - began
    return figures


async def _run(fleet: LinkedFleet, bad: Trained, good: Trained, figures: FleetFigures) -> None:
    for version, outcomes in ((bad, figures.bad), (good, figures.good)):
        outcomes.append(await fleet.roll_out(version))
        print(outcomes[-1], flush=True)  # noqa: T201


async def idle_day(edge: LinkedEdge) -> IdleDay:
    """Heartbeats, looks and left states of an edge without records, at once instead of in a day."""
    link = edge.link
    link.share = 1.0
    await edge.leave()
    link.requests, link.uploaded, link.downloaded = Counter(), 0, 0
    for _ in range(HEARTBEATS // PART_OF_A_DAY):
        await edge.report()
    for _ in range(LOOKS // PART_OF_A_DAY):
        await edge.follow()
    requests = {name: count * PART_OF_A_DAY for name, count in link.requests.items()}
    uploaded, downloaded = (count * PART_OF_A_DAY for count in (link.uploaded, link.downloaded))
    link.requests, link.uploaded, link.downloaded = Counter(), 0, 0
    await edge.leave()
    for name, count in link.requests.items():
        requests[name] = requests.get(name, 0) + count * LEFT
    return IdleDay(requests, uploaded + link.uploaded * LEFT, downloaded + link.downloaded * LEFT)


def render(figures: FleetFigures) -> str:
    """The figures as Markdown, with their bars."""
    archived, idle = figures.archived, figures.idle
    assert archived is not None
    assert idle is not None
    stopped = sum((run.state, run.stage) == ("stopped", 1) for run in figures.bad)
    done = sum(run.state == "done" for run in figures.good)
    difference = max(device.difference for device in figures.reimaged)
    asked = ", ".join(f"{count:,} `{name}`" for name, count in sorted(idle.requests.items()))
    rows = [
        ("edges", f"{figures.edges}", ""),
        ("rounds of an edge in which its link lost requests", f"{figures.cuts:,}", ""),
        ("bad versions stopped in the first stage", f"{stopped} of {len(figures.bad)}", "all"),
        ("edges that ran one, at most", f"{max(run.ran for run in figures.bad)}", "1"),
        ("good versions that reached all edges", f"{done} of {len(figures.good)}", "all"),
        ("rounds of 48 periods until stopped, until at all edges; median", _medians(figures), ""),
        ("edges re-imaged", f"{len(figures.reimaged)}", ""),
        ("first forecasts of theirs, largest difference", f"{difference:.1g}", "1e-6"),
        ("windows in the store, rows", f"{archived.windows:,}, {archived.rows:,}", ""),
        ("rows lost, doubled", f"{archived.lost}, {archived.doubled}", "0, 0"),
        ("blends, doubled", f"{figures.blended:,}, {figures.doubled}", "-, 0"),
        (
            "an idle edge's bodies in a day",
            f"{idle.uploaded / 1e6:.2f} MB up, {idle.downloaded / 1e6:.2f} MB down",
            "2 MB",
        ),
        ("its requests in a day", asked, ""),
    ]
    lines = ["| what | measured | bar |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    return "\n".join([*lines, "", f"It took {figures.seconds / 60:.0f} minutes.\n"])


def _medians(figures: FleetFigures) -> str:
    return ", ".join(f"{_median([run.rounds for run in runs]):.0f}" for runs in (figures.bad, figures.good))


def _median(values: Sequence[int]) -> float:
    return sorted(values)[len(values) // 2]


def main() -> None:
    logging.disable(logging.WARNING)
    edges, runs, minutes = (*sys.argv[1:], *("",) * 3)[:3]
    figures = asyncio.run(measured(int(edges or EDGES), int(runs or RUNS), float(minutes or MINUTES)))
    text = render(figures)
    write_part(PAGE, "bench-fleet", text)
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
