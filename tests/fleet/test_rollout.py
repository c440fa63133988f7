"""Which edges try a version first: from their ids, labels and the version alone; a share of them that is close to the
stage, and whoever is in a stage is in all later ones."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.fleet.rollout import first_trial, is_in, rank, size_of, stage_after, topped_up
from driftline.models.manifest import Trial

VERSION = "v000042-0123456789ab"
STAGES = ("1", "10%", "50%", "100%")
CANARY = {"canary": "yes"}
fleets = st.sets(st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=12, max_size=12), min_size=2, max_size=80)


def stages_of(edges: dict[str, dict[str, str]], first: dict[str, str]) -> list[set[str]]:
    """The edges in each stage, one after the other, before all run it."""
    trial = first_trial(STAGES, first, VERSION, edges, 0.0)
    stages = []
    while trial is not None:
        stages.append({edge for edge, labels in edges.items() if is_in(trial, edge, labels)})
        ranks = [rank(edge, VERSION, labels, first) for edge, labels in edges.items()]
        step = stage_after(STAGES, trial.stage, ranks, trial.below)
        trial = None if step is None else replace(trial, below=step.below, stage=step.stage)
    return stages


@given(fleets)
def test_stages_grow_and_have_the_size_that_was_asked_for(ids: set[str]):
    stages = stages_of({edge: {} for edge in ids}, {})
    sizes = [len(stage) for stage in stages]
    assert sizes[0] == 1
    assert sizes == sorted(set(sizes))
    assert set(sizes) <= {size_of(stage, len(ids)) for stage in STAGES}
    for earlier, later in pairwise(stages):
        assert earlier < later


@given(fleets, st.data())
def test_labels_come_first(ids: set[str], data: st.DataObject):
    labelled = data.draw(st.sets(st.sampled_from(sorted(ids)), min_size=1))
    edges = {edge: {**CANARY, "site": "roof"} if edge in labelled else {"canary": "no"} for edge in ids}
    for stage in stages_of(edges, CANARY):
        assert stage <= labelled or stage >= labelled


@given(fleets)
def test_the_order_of_the_edges_makes_no_difference(ids: set[str]):
    edges: list[dict[str, dict[str, str]]] = [
        {edge: {} for edge in sorted(ids, reverse=back)} for back in (False, True)
    ]
    assert stages_of(edges[0], {}) == stages_of(edges[1], {})


def test_each_version_is_tried_by_others():
    edges: dict[str, dict[str, str]] = {f"edge{number}": {} for number in range(50)}
    first: set[str] = set()
    for number in range(20):
        version = f"v{number:06d}-0123456789ab"
        trial = first_trial(STAGES, {}, version, edges, 0.0)
        first |= {edge for edge in edges if is_in(trial, edge, {})}
    assert len(first) > 10


@pytest.mark.parametrize("labels", [{}, CANARY])
@pytest.mark.parametrize("first", [{}, CANARY])
def test_ranks_are_spread_evenly(labels: dict[str, str], first: dict[str, str]):
    ranks = [rank(f"edge{number}", VERSION, labels, first) for number in range(2000)]
    low = 0.5 if first and not labels else 0.0
    high = 0.5 if first and labels else 1.0
    assert low <= min(ranks) < max(ranks) < high
    middle = (low + high) / 2
    assert abs(sum(share < middle for share in ranks) - 1000) < 150


@pytest.mark.parametrize(
    ("stage", "edges", "size"),
    [("1", 50, 1), ("10%", 50, 5), ("10%", 4, 1), ("0.1%", 50, 1), ("33.3%", 10, 4), ("100%", 7, 7), ("30", 7, 7)],
)
def test_a_share_is_rounded_up(stage: str, edges: int, size: int):
    assert size_of(stage, edges) == size


@pytest.mark.parametrize("edges", [0, 1])
def test_nobody_and_a_single_edge_get_it_at_once(edges: int):
    assert first_trial(STAGES, {}, VERSION, {f"e{n}": {} for n in range(edges)}, 0.0) is None


def test_of_two_edges_one_tries_it_and_then_both_run_it():
    assert [len(stage) for stage in stages_of({"a": {}, "b": {}}, {})] == [1]


def test_a_stage_whose_edges_went_silent_gets_others_and_never_fewer():
    ranks = [0.1, 0.2, 0.3, 0.4]
    trial = Trial(VERSION, 0.15, stage=0)
    assert topped_up(STAGES, trial.stage, trial.below, ranks) == 0.15
    assert topped_up(STAGES, trial.stage, trial.below, ranks[1:]) == 0.3
    assert topped_up(STAGES, trial.stage, 0.35, ranks) == 0.35


def test_a_known_rank_never_changes():
    """Edges and trainers of different releases must agree."""
    assert rank("4f2a91b0c3d4", VERSION, {}, {}) == 0.23822764722068768
    assert rank("4f2a91b0c3d4", VERSION, {}, CANARY) == 0.6191138236103438
    assert rank("4f2a91b0c3d4", VERSION, CANARY, CANARY) == 0.11911382361034384
