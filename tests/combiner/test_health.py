"""What a report has of a stream is what the scores say, and as much of 1,000 series as of one."""

import asyncio
from contextlib import aclosing

import msgspec
import pytest

from driftline.bus.memory import MemoryBus
from driftline.messages import REPORTS, Forecast
from driftline.streams.definition_files import parse
from driftline_combiner.app import create_app
from driftline_combiner.health import LOWEST, health
from driftline_combiner.settings import CombinerSettings
from driftline_combiner.step import BlendStep

STREAM = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nhorizon: [1, 3]\n", "a.yaml")
HOUR_MS = 3_600_000


def worked(keys: int, records: int = 40) -> BlendStep:
    """Each value is one more than the one before; a member that knows that is right, persistence is wrong."""
    stream_step = BlendStep(STREAM, lambda _stream, _kind: None)
    for t in range(records):
        stream_step.work(
            [
                Forecast(
                    "a",
                    f"k{key}",
                    t * HOUR_MS,
                    float(t),
                    [1, 3],
                    {"persistence": [t, t], "rls": [t + 1.0, t + 3.0]},
                    {},
                    0.0,
                )
                for key in range(keys)
            ]
        )
    return stream_step


def test_the_skill_against_a_sensor_that_hardly_moves_is_a_number_that_is_believed() -> None:
    stream_step = BlendStep(STREAM, lambda _stream, _kind: None)
    for t in range(40):
        value = t * 1e-18
        members: dict[str, list[float | None]] = {"persistence": [value, value], "rls": [1000.0, 1000.0]}
        stream_step.work([Forecast("a", "k", t * HOUR_MS, value, [1, 3], members, {}, 0.0)])
    assert set(health(stream_step).skill.values()) == {LOWEST}


def test_a_stream_without_series_has_nothing_to_say() -> None:
    assert msgspec.json.encode(health(worked(0))) == b"{}"


@pytest.mark.parametrize("keys", [1, 3])
def test_keys_truths_skill_and_coverage_are_those_of_all_series(keys: int) -> None:
    found = health(worked(keys))
    assert (found.keys, found.newest) == (keys, 39 * HOUR_MS)
    assert found.scored == 39 * keys
    assert found.skill.keys() == found.coverage.keys() == {"1", "3"}
    assert all(0.5 < skill <= 1 for skill in found.skill.values())
    assert all(0 <= share <= 1 for share in found.coverage.values())


def test_what_is_said_of_1000_series_is_as_short_as_what_is_said_of_one() -> None:
    sizes = [len(msgspec.json.encode(health(worked(keys, records=5)))) for keys in (1, 1000)]
    assert sizes[1] - sizes[0] < 10


async def test_the_combiner_reports_it_on_the_bus() -> None:
    bus = MemoryBus()
    app = create_app(CombinerSettings(page_points=0), bus, streams={"a": STREAM})
    async with (
        app.router.lifespan_context(app),
        asyncio.timeout(120),
        aclosing(bus.tail(REPORTS, earliest=True)) as pages,
    ):
        async for page in pages:
            if page:
                break
        report = page[0].value
    assert (report.service, report.every, report.streams["a"]) == ("combiner", 60.0, health(worked(0)))
