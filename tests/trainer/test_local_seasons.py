"""Through both changes of summer time a network learns from what it is fed with on the edge."""

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.streams.definition_files import parse
from driftline.streams.features import observe
from driftline.streams.history import History
from driftline.streams.layout import Layout
from driftline.streams.rows import Rows
from driftline_trainer.datasets import building

CHANGES = (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC))


@given(
    change=st.sampled_from(CHANGES),
    minutes=st.sampled_from([15, 30, 60]),
    horizon=st.lists(st.integers(1, 200), min_size=1, max_size=3, unique=True).map(sorted),
    missing=st.floats(0, 0.3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=12, deadline=None)
def test_training_sees_what_the_edge_sees(
    change: datetime, minutes: int, horizon: list[int], missing: float, seed: int
):
    time = f"{{column: t, period: {minutes}min, zone: Europe/Paris}}"
    stream = parse(f"name: a\ntime: {time}\ntarget: y\nhorizon: {horizon}\nlags: 2\n", "a.yaml")
    random = np.random.default_rng(seed)
    begin = round((change - timedelta(days=9)).timestamp() * 1000)
    t = begin + 60_000 * minutes * np.arange(18 * 1440 // minutes)
    t = t[random.random(len(t)) >= missing] + int(random.integers(0, 60_000 * minutes))
    rows = Rows(np.full(len(t), "k"), t, random.normal(size=(len(t), 1)))
    built = building.build(rows, stream)
    layout = Layout.of(stream)
    history, slot = History.empty(1, layout), np.array([0])
    inputs = {
        int(at[0]): observe(history, layout, slot, at, value)
        for at, value in zip(t[:, None], rows.values[:, None], strict=True)
    }
    assert len(built) > 20
    for at, row in zip(built.t.tolist(), built.inputs, strict=True):
        np.testing.assert_array_equal(row, inputs[at].net[0])
