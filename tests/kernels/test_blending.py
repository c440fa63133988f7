"""Blending in C does as blending in NumPy does, whatever comes."""

from dataclasses import replace

import numpy as np
import pytest

from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline_combiner.blending import ArrayBlending
from driftline_combiner.kernel_blending import WORK, KernelBlending
from driftline_combiner.rounds import ForecastRows
from tests.kernels.blending_cases import SERIES, Lane, assert_alike, batches, named, with_garbage

pytestmark = pytest.mark.skipif(WORK is None, reason="no library of kernels for this machine")
SEEDS = (0, 1)


def definition(*, more: str = "", weighting: str = "{window: 20}") -> StreamDefinition:
    text = "name: a\ntime: {column: when, period: 1min}\ntarget: y\nhorizon: [1, 2, 7, 30]\n"
    return parse(f"{text}weighting: {weighting}\n{more}", "a.yaml")


STREAM = definition()


def both(stream: StreamDefinition = STREAM) -> tuple[Lane, Lane]:
    return Lane.of(KernelBlending, stream), Lane.of(ArrayBlending, stream)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "weighting", ["{window: 20}", "{active: window}", "{active: static, static: {rls: 2, batch: 1}}"]
)
def test_results_and_states_are_those_of_numpy(seed: int, weighting: str):
    stream = definition(weighting=weighting)
    kernels, arrays = both(stream)
    for rows, sizes in batches(seed, stream):
        found, expected = kernels.blending.work(rows, sizes), arrays.blending.work(rows, sizes)
        assert_alike(named(*found), named(*expected))
        assert_alike(kernels.arrays(), arrays.arrays())
    assert (arrays.tables.ledger.count > 150).all()
    assert arrays.tables.ledger.guarded.any() or weighting != "{active: static, static: {rls: 2, batch: 1}}"


def test_what_is_possible_is_kept_to():
    stream = definition(more="range: [-0.5, 2]\n")
    kernels, arrays = both(stream)
    for rows, sizes in batches(4, stream):
        within = replace(rows, observed=stream.within(rows.observed), members=stream.within(rows.members))
        found, expected = kernels.blending.work(within, sizes), arrays.blending.work(within, sizes)
        np.testing.assert_allclose(found[1].around, expected[1].around, rtol=1e-9, atol=1e-12)
        assert_alike(kernels.arrays(), arrays.arrays())


@pytest.mark.parametrize("seed", SEEDS)
def test_garbage_leaves_the_same_behind(seed: int):
    random = np.random.default_rng(seed)
    kernels, arrays = both()
    for rows, sizes in batches(seed, STREAM, count=3):
        strange = with_garbage(rows, random)
        with np.errstate(all="ignore"):
            found, expected = kernels.blending.work(strange, sizes), arrays.blending.work(strange, sizes)
            assert_alike(named(*found), named(*expected))
            assert_alike(kernels.arrays(), arrays.arrays())


def rows_of(rows: ForecastRows, slot: int) -> ForecastRows:
    mine = np.flatnonzero(rows.slots == slot)
    return replace(
        rows,
        slots=rows.slots[mine],
        t=rows.t[mine],
        tick=rows.tick[mine],
        missing=rows.missing[mine],
        observed=rows.observed[mine],
        members=rows.members[mine],
    )


def test_a_series_does_not_depend_on_others_or_on_where_batches_are_cut():
    together, alone = Lane.of(KernelBlending, STREAM), Lane.of(KernelBlending, STREAM)
    for rows, sizes in batches(3, STREAM):
        together.blending.work(rows, sizes)
        for slot in range(SERIES):
            mine = rows_of(rows, slot)
            for row in range(len(mine.slots)):
                alone.blending.work(mine.take(slice(row, row + 1)), [1])
    for name, array in together.arrays().items():
        np.testing.assert_array_equal(alone.arrays()[name], array, err_msg=name)


def test_a_truth_alone_is_scored_alike():
    kernels, arrays = both()
    for rows, sizes in batches(5, STREAM, count=2):
        for lane in (kernels, arrays):
            lane.blending.work(rows, sizes)
        slots = np.arange(SERIES)
        tick, truth = arrays.tables.ledger.tick - 3, np.linspace(-1.0, 1.0, SERIES)
        found, expected = (lane.blending.score(slots, tick, truth) for lane in (kernels, arrays))
        assert_alike(named(found), named(expected))
        assert_alike(kernels.arrays(), arrays.arrays())
