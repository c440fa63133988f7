"""The beginning: reports of hold-outs count at once, and errors as they come."""

from dataclasses import replace

import numpy as np

from driftline.members import MEMBERS
from driftline.streams.definition_files import parse
from driftline.streams.horizon_rings import HorizonRings
from driftline_combiner.ledger import Ledger
from driftline_combiner.prequential import REFIT_FROM, score
from driftline_combiner.prior import hear
from driftline_combiner.weighing import weigh
from driftline_combiner.weighting_rules import Rules

SLOT = np.array([0])
STREAM = parse("name: a\ntime: {column: t, zone: required, period: 10min}\ntarget: y\n", "test")
RULES = replace(Rules.of(STREAM), rings=HorizonRings.of(STREAM.horizon, 0))


def online(ledger: Ledger, forecasts: list[float]) -> dict[str, float]:
    """The published weights by member, when these are the forecasts."""
    weights, _ = weigh(ledger, RULES, SLOT, np.array([[forecasts]]))
    return dict(zip(MEMBERS, weights[0, 0, -1].tolist(), strict=True))


def test_a_model_whose_hold_out_reports_more_skill_begins_with_more_weight():
    ledger = Ledger.empty(1, (1,))
    hear(ledger, RULES, SLOT, np.array([[[-0.5, 0.5]]]))
    weights = online(ledger, [1.0] * len(MEMBERS))
    assert weights["speed"] > 0.5 > weights["stack"] > weights["batch"]


def test_a_model_that_is_wrong_from_the_first_truths_on_loses_its_weight():
    ledger = Ledger.empty(1, (1,))
    wrong = [0.1 if name == "rls" else 5.0 if name in {"batch", "speed", "stack"} else 1.0 for name in MEMBERS]
    before = online(ledger, wrong)
    for number in range(20):
        score(ledger, RULES, SLOT, np.array([number]), np.array([0.0]))
        after = online(ledger, wrong)
    assert before["batch"] > before["rls"]
    assert after["rls"] > 0.8
    assert after["batch"] < 0.1


def test_what_is_reported_for_one_series_leaves_the_others_of_its_batch_as_they_are():
    """Else weights would depend on which messages happen to be read at once, so a run that was killed would differ."""
    ledger, random = Ledger.empty(2, (1,)), np.random.default_rng(3)
    for number in range(REFIT_FROM + 5):
        score(ledger, RULES, SLOT, np.array([number]), np.array([random.normal()]))
        weigh(ledger, RULES, SLOT, random.normal(size=(1, 1, len(MEMBERS))))
    first, trust, other = ledger.first[0].copy(), ledger.trust[0].copy(), ledger.first[1].copy()
    hear(ledger, RULES, np.array([0, 1]), np.array([[[np.nan, np.nan]], [[-0.5, 0.5]]]))
    np.testing.assert_array_equal(ledger.first[0], first)
    np.testing.assert_array_equal(ledger.trust[0], trust)
    assert (ledger.first[1] != other).any()
