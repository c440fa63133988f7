"""Says in words why the weights are as they are. Pure."""

from collections.abc import Mapping

from driftline.members import MEMBERS, PERSISTENCE
from driftline.scoring import PUBLISHED
from driftline_combiner.guard import GUARD_MARGIN
from driftline_combiner.horizon_weighting import HorizonWeighting
from driftline_combiner.scores import RowScore


def explain(weighting: HorizonWeighting, scores: Mapping[str, RowScore], active: str) -> dict[str, str]:
    """A sentence for the blend and for every member."""
    return {PUBLISHED: _blend(weighting, active)} | {name: _member(name, weighting, scores, active) for name in MEMBERS}


def _blend(weighting: HorizonWeighting, active: str) -> str:
    mine, naive = weighting.rivals
    compared = f"lately RMSE {mine:.4g} against {naive:.4g} of persistence"
    if weighting.guarded:
        return f"the guard publishes persistence until {active} is as good again: {compared}"
    return f"{active} is published: {compared}; the guard would step in at {naive * GUARD_MARGIN**0.5:.4g}"


def _member(name: str, weighting: HorizonWeighting, scores: Mapping[str, RowScore], active: str) -> str:
    if name not in weighting.present:
        return "sits out: no model yet, too few records, or a missing value"
    score, weight = scores[name], weighting.weights[active][name]
    if not score.n:
        return "nothing of it was scored yet"
    lately = f"lately RMSE {score.recent_rmse:.4g}"
    if name != PERSISTENCE and scores[PERSISTENCE].recent_rmse > 0:
        lately += f", {score.recent_rmse / scores[PERSISTENCE].recent_rmse:.2f} of persistence's"
    if weight:
        return f"{lately}; with more of it the blend would have been better so far"
    return f"{lately}; the others were as good without it"
