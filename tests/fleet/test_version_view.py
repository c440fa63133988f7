"""One version across edges: who serves it, how it does, where it was rolled back and why."""

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.fleet.heartbeat import ModelHealth
from driftline_trainer.fleet.version_view import EdgeModel, pooled, versions_of, view
from tests.fleet.simulated import NEW, OLD, compared


def on(*models: ModelHealth) -> list[EdgeModel]:
    return [EdgeModel(f"e{n}", f"pi-{n}", model) for n, model in enumerate(models)]


def test_a_version_is_told_in_a_sentence():
    models = on(*[compared(truths=300)] * 11, compared(truths=100, log_not_worse=0.5))
    assert view(NEW, models).sentence == "v000042: 12 edges, 3,400 truths, better on 11"


def test_where_it_is_worse_and_where_it_was_rolled_back():
    gone = compared(serves=OLD, truths=90, rolled_back={NEW: "errors worse by 9 %"})
    seen = view(NEW, on(compared(), compared(log_worse=log(1001), log_not_worse=-9.0), gone, ModelHealth(version=OLD)))
    assert (seen.edges, seen.compared, seen.better, seen.worse, seen.rolled_back) == (2, 3, 1, 2, 1)
    assert [row.rolled_back for row in seen.rows] == [None, None, "errors worse by 9 %"]
    assert seen.sentence == "v000042: 2 edges, 690 truths, better on 1, worse on 2, rolled back on 1"


def test_a_version_that_nobody_compared_has_no_evidence():
    seen = view(OLD, on(ModelHealth(version=OLD), ModelHealth(version=OLD)))
    assert (seen.log_worse, seen.compared, seen.sentence) == (None, 0, "v000041: 2 edges, 0 truths")


def test_a_version_that_no_edge_knows_and_a_fleet_of_none():
    assert view(NEW, []).sentence == "v000042: 0 edges, 0 truths"
    assert versions_of([]) == []


def test_all_versions_are_listed_the_newest_first():
    models = on(compared(), ModelHealth(version=OLD), ModelHealth(refused={"v000043-aaaaaaaaaaaa": "signature: none"}))
    assert versions_of(models) == ["v000043-aaaaaaaaaaaa", NEW, OLD]


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=50))
def test_pooled_evidence_is_the_mean_of_the_edges(logs: list[float]):
    assert pooled(logs) == pytest.approx(log(sum(map(exp, logs)) / len(logs)))


def test_evidence_beyond_what_a_float_holds_is_pooled():
    assert pooled([5000.0, -5000.0]) == pytest.approx(5000 - log(2))
