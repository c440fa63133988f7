"""The prior of the online weights: what they begin from, and how long that counts beside what is learned.

By the sizes of the members' errors, and by what the models' hold-outs reported. Pure NumPy.
"""

import numpy as np

from driftline.arrays import TINY, Floats, Ints
from driftline.members import MEMBERS, MODELS, STACK
from driftline_combiner.ledger import MEMBER_COUNT, ONLINE, PRIOR, Ledger
from driftline_combiner.weighting_rules import Rules

HELD_OUT = 20.0
"""Independent records that a model's report on its hold-out counts for."""
PRIOR_RECORDS = 500.0
"""Independent records after which regret is believed by half: until then the sizes of errors count."""
MOST_EVIDENCE = 60.0
"""Independent records that the sizes of errors count for at most: members of nearly the same size share the weight."""
SHARED = 0.3
"""How much less further records are worth for each step of the horizon where successive errors are the same."""
YOUNG = 20.0
"""Records after which it is believed by half how alike successive errors are: before, as steps overlap."""
SMALLEST = 1e-4
"""Mean squared errors are told apart from this share of persistence's on, and up to its inverse."""
FAINT = -50.0
"""Logarithm of the least weight beside the largest."""


def _effective_sample_size(ledger: Ledger, rules: Rules, slots: Ints) -> Floats:
    """[n, horizons]: how many independent records the scored ones are worth, by how alike successive errors are."""
    scored = ledger.scored[slots, :, MEMBER_COUNT + ONLINE]
    products, squares = ledger.successive[slots, :, 1], ledger.successive[slots, :, 2]
    seen = scored / (scored + YOUNG)
    alike = seen * products / np.maximum(squares, TINY) + (1.0 - seen) * (1.0 - 1.0 / rules.steps)
    # Squares are alike as the square of what errors are.
    share = 1.0 / (1.0 + SHARED * (rules.steps - 1) * np.minimum(np.maximum(alike, 0.0), 1.0) ** 2)
    worth: Floats = np.minimum(scored, 1.0 + np.maximum(scored - 1.0, 0.0) * share)
    return worth


def update_prior(ledger: Ledger, rules: Rules, slots: Ints) -> None:
    """What the online weights begin from, and how far they have come."""
    if not len(slots):
        return
    records = _effective_sample_size(ledger, rules, slots)
    ledger.first[slots] = _first(ledger, slots, records)
    ledger.trust[slots] = (records / (records + PRIOR_RECORDS))[..., None]


def _first(ledger: Ledger, slots: Ints, records: Floats) -> Floats:
    """[n, horizons, members]: raw weights by the sizes of the members' errors, and by what hold-outs reported.

    As if errors were normal: the prior times the likelihood of as many independent records, [n, horizons].
    """
    # Of the long memory: the newest records alone are too few, far ahead, to tell members apart.
    diagonals = np.einsum("nphii->nphi", ledger.long[slots])
    products, counts = diagonals[:, 0], diagonals[:, 1]
    mean = products / np.maximum(counts, TINY)
    known = (counts > 0) & (mean[..., :1] > 0)
    size = np.where(known, mean / np.maximum(mean[..., :1], TINY), 1.0)
    own = np.minimum(records, MOST_EVIDENCE)[..., None] * counts / np.maximum(counts.max(axis=-1, keepdims=True), TINY)
    reported = ledger.reported[slots]
    held = np.where(np.isfinite(reported), HELD_OUT, 0.0)
    # As logarithms: a stretch in which persistence is hardly wrong must not outweigh a report.
    seen, said = (np.log(np.minimum(np.maximum(part, SMALLEST), 1.0 / SMALLEST)) for part in (size, reported))
    sizes = own * seen + np.where(held > 0, held * said, 0.0)
    both = held + own
    likely = -0.5 * both.max(axis=-1, keepdims=True) * sizes / np.maximum(both, TINY)
    raw: Floats = PRIOR * np.exp(np.maximum(likely - likely.max(axis=-1, keepdims=True), FAINT))
    return raw


def from_reports(skills: Floats) -> Floats:
    """[n, horizons, members]: mean squared errors as shares of persistence's, as far as hold-outs say; NaN where they
    say nothing. Other built-in members begin as persistence, the stack as the models' mean."""
    models = (1.0 - skills) ** 2
    known = np.isfinite(models)
    count = known.sum(axis=-1, keepdims=True)
    mean = np.where(count > 0, np.where(known, models, 0.0).sum(axis=-1, keepdims=True) / np.maximum(count, 1), np.nan)
    one = np.where(count > 0, 1.0, np.nan)
    by_member = [mean if name == STACK else one for name in MEMBERS[: -len(MODELS)]]
    return np.concatenate([*by_member, np.where(known, models, mean)], axis=-1)


def hear(ledger: Ledger, rules: Rules, slots: Ints, skills: Floats) -> None:
    """Remembers what the models' hold-outs reported. skills: [n, horizons, models], NaN where nothing is said. Changes
    `ledger` in place."""
    before = ledger.skills[slots]
    newest = np.where(np.isfinite(skills), skills, before)
    same = (newest == before) | (np.isnan(newest) & np.isnan(before))
    # Only those with news: the others would begin from what they are by now, as their batch happened to be cut.
    news = ~same.all(axis=(1, 2))
    if news.any():
        heard = slots[news]
        ledger.skills[heard], ledger.reported[heard] = newest[news], from_reports(newest[news])
        update_prior(ledger, rules, heard)
