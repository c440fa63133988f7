"""What the combiner remembers of every series: what was forecast, how wrong it was, and what was learned from it.

Pure NumPy; one row ("slot") a series. Errors are prequential: forecast first, scored when the truth arrives.
"""

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np

from driftline.arrays import TINY, Derived, Floats, Ints, Mask, Over, PerHorizon, Symmetric, clipped
from driftline.members import MEMBERS, MODELS, STACK, TRAINED
from driftline.scoring import ROWS, STRATEGIES
from driftline.streams.definition import StreamDefinition
from driftline.streams.grid import NEVER
from driftline.streams.horizon_rings import HorizonRings
from driftline_combiner import weights as strategies
from driftline_combiner.weights import Grams

MEMBER_COUNT, STRATEGY_COUNT = len(MEMBERS), len(STRATEGIES)
ONLINE = STRATEGIES.index("online")
WINDOW = STRATEGIES.index("window")
STATIC = STRATEGIES.index("static")
REFIT_EVERY = 10
"""Records between two fits of the window strategy, and between two looks at what the online one begins from ..."""
REFIT_FROM = 100
"""... which a young series looks at with every record."""
LONG_MEMORY = 0.0002
"""Of what the window strategy is shrunk towards: about the last 5,000 records."""
RECENT = 0.01
"""Memory of the recent errors: about the last 100 records."""
SCALE_MEMORY = 0.002
GUARD_RECORDS = (500, 50)
"""What the guard compares: about so many of the last records, and so many more for each step of the horizon, since
errors far ahead overlap."""
GUARD_MARGIN = 1.1
"""The guard steps in when the active strategy's mean squared error is so many times persistence's."""
GUARD_AFTER = 50
"""Records before the guard judges, for each step of the horizon: what overlaps convicts nobody sooner."""
UNTRAINED = 0.5
PRIOR = np.array([1.0 if name in TRAINED else UNTRAINED for name in MEMBERS])
"""What the online weights begin from: who was trained on history knows most before anything was scored."""
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
ALONE = np.eye(MEMBER_COUNT)[0]
"""Persistence's weights."""
CUT = 5.0
"""Errors are cut at so many times their usual size before anything is learned from them: a glitch is no lesson."""
WILD = 100.0
"""A member's error is believed up to so many usual errors: it is bad beyond, by how much does not matter."""


@dataclass(frozen=True)
class Ledger:
    """The state of all series."""

    count: Annotated[Ints, Over()]
    """[slots]: records seen."""
    since: Annotated[Ints, Over("horizons")]
    """[slots, horizons]: records seen before the horizon was there."""
    tick: Annotated[Ints, Over()]
    """[slots]: of the newest record, see `driftline.streams.grid`; NEVER before the first."""
    members: Annotated[Floats, Over(PerHorizon(), "members")]
    """[slots, places, members]: what was forecast, until its truth comes; for the places see `HorizonRings`."""
    blends: Annotated[Floats, Over(PerHorizon(), "blends")]
    """[slots, places, strategies + 1]: what every strategy made of it, and what was published."""
    window: Annotated[Floats, Over(2, "horizons", Symmetric("members"))]
    """[slots, 2, horizons, members, members]: `weights.Grams` of the newest errors: products and counts."""
    long: Annotated[Floats, Over(2, "horizons", Symmetric("members"))]
    """[slots, 2, horizons, members, members]: the same of a long memory."""
    fitted: Annotated[Floats, Over("horizons", "members")]
    """[slots, horizons, members]: weights of the window strategy."""
    first: Annotated[Floats, Over("horizons", "members")]
    """[slots, horizons, members]: weights that the online strategy begins from."""
    trust: Annotated[Floats, Over("horizons", 1)]
    """[slots, horizons, 1]: share of the online strategy's weights that is learned, not `first`."""
    regret: Annotated[Floats, Over("horizons", "members")]
    """[slots, horizons, members]: of the online strategy."""
    second: Annotated[Floats, Over("horizons", "members")]
    """[slots, horizons, members]: sum of its squared regrets."""
    bound: Annotated[Floats, Over("horizons", 1)]
    """[slots, horizons, 1]: largest of them."""
    skills: Annotated[Floats, Over("horizons", "models")]
    """[slots, horizons, models]: the newest that the models' hold-outs reported; NaN for none."""
    reported: Annotated[Floats, Derived]
    """[slots, horizons, members]: see `from_reports`."""
    successive: Annotated[Floats, Over("horizons", 3)]
    """[slots, horizons, 3]: the online strategy's newest error, cut; sums of the products of successive ones and of
    their squares."""
    scale: Annotated[Floats, Over("horizons")]
    """[slots, horizons]: moving mean square of the online strategy's error; NaN before the first."""
    rivals: Annotated[Floats, Over("horizons", "rivals")]
    """[slots, horizons, 2]: moving mean squares of the active strategy's and of persistence's error; see `_guard`."""
    compared: Annotated[Ints, Over("horizons")]
    """[slots, horizons]: records seen before these two were compared."""
    guarded: Annotated[Mask, Over("horizons")]
    """[slots, horizons]: whether persistence is published, since the active strategy has fallen behind it."""
    scored: Annotated[Floats, Over("horizons", "rows")]
    """[slots, horizons, rows]: records on which the row and persistence were scored."""
    squared: Annotated[Floats, Over("horizons", "rows")]
    """[slots, horizons, rows]: sum of squared errors on them."""
    absolute: Annotated[Floats, Over("horizons", "rows")]
    """[slots, horizons, rows]: sum of absolute errors on them."""
    naive: Annotated[Floats, Over("horizons", "rows")]
    """[slots, horizons, rows]: sum of persistence's squared errors on the same records."""
    recent: Annotated[Floats, Over("horizons", "rows")]
    """[slots, horizons, rows]: moving mean square error."""

    @classmethod
    def empty(cls, slots: int, horizon: tuple[int, ...], patience: int = 0) -> Self:
        """patience: records that a truth may be late."""
        horizons, places, rows = len(horizon), HorizonRings.of(horizon, patience).size, len(ROWS)
        return cls(
            count=np.zeros(slots, dtype=np.int64),
            since=np.zeros((slots, horizons), dtype=np.int64),
            tick=np.full(slots, NEVER, dtype=np.int64),
            members=np.full((slots, places, MEMBER_COUNT), np.nan),
            blends=np.full((slots, places, STRATEGY_COUNT + 1), np.nan),
            window=np.zeros((slots, 2, horizons, MEMBER_COUNT, MEMBER_COUNT)),
            long=np.zeros((slots, 2, horizons, MEMBER_COUNT, MEMBER_COUNT)),
            fitted=np.zeros((slots, horizons, MEMBER_COUNT)),
            first=np.broadcast_to(PRIOR, (slots, horizons, MEMBER_COUNT)).copy(),
            trust=np.zeros((slots, horizons, 1)),
            regret=np.zeros((slots, horizons, MEMBER_COUNT)),
            second=np.zeros((slots, horizons, MEMBER_COUNT)),
            bound=np.zeros((slots, horizons, 1)),
            skills=np.full((slots, horizons, len(MODELS)), np.nan),
            reported=np.full((slots, horizons, MEMBER_COUNT), np.nan),
            successive=np.zeros((slots, horizons, 3)),
            scale=np.full((slots, horizons), np.nan),
            rivals=np.zeros((slots, horizons, 2)),
            compared=np.zeros((slots, horizons), dtype=np.int64),
            guarded=np.zeros((slots, horizons), dtype=np.bool_),
            scored=np.zeros((slots, horizons, rows)),
            squared=np.zeros((slots, horizons, rows)),
            absolute=np.zeros((slots, horizons, rows)),
            naive=np.zeros((slots, horizons, rows)),
            recent=np.full((slots, horizons, rows), np.nan),
        )


@dataclass(frozen=True)
class Rules:
    """What a stream's definition says of weighing. static: [members]."""

    rings: HorizonRings
    static: Floats
    active: int
    memory: float
    """Of the window strategy."""
    guard: Floats
    """[horizons]: the guard's memory."""

    @property
    def steps(self) -> Ints:
        """[horizons]."""
        return self.rings.steps

    @classmethod
    def of(cls, stream: StreamDefinition) -> Self:
        fixed = stream.weighting.static or dict.fromkeys(MEMBERS, 1.0)
        return cls(
            rings=HorizonRings.of(stream.horizon, stream.patience),
            static=np.array([fixed.get(name, 0.0) for name in MEMBERS]),
            active=STRATEGIES.index(stream.weighting.active),
            memory=1.0 / stream.weighting.window,
            guard=1.0 / (GUARD_RECORDS[0] + GUARD_RECORDS[1] * np.array(stream.horizon, dtype=np.float64)),
        )


@dataclass(frozen=True)
class Scored:
    """The errors of a round of truths. error: [n, horizons, rows]; scale: [n, horizons] the usual square before it."""

    error: Floats
    scale: Floats


def arrive(ledger: Ledger, rules: Rules, slots: Ints, tick: Ints) -> None:
    """A forecast of each of n series comes: between its tick and the one before nothing was forecast."""
    rows, places = rules.rings.skipped(ledger.tick[slots], tick)
    for ring in (ledger.members, ledger.blends):
        ring[slots[rows], places] = np.nan
    ledger.tick[slots] = tick


def score(ledger: Ledger, rules: Rules, slots: Ints, tick: Ints, truth: Floats) -> Scored:
    """Compares the truths of n series with what was forecast `steps` periods before, and learns from it.

    slots: [n], each at most once. tick: [n] which the truths are of. truth: [n], NaN where it is missing. Changes
    `ledger` in place.
    """
    rows = slots[:, None]
    # Horizon i forecast this tick steps[i] periods ago. In a young series these places are still NaN, and an error of
    # NaN teaches nothing.
    then = rules.rings.places(tick[:, None] - rules.steps)
    forecast = np.concatenate([ledger.members[rows, then], ledger.blends[rows, then]], axis=2)
    error = forecast - truth[:, None, None]
    scale = ledger.scale[slots]
    # From before this record (`_learn_scale` comes later): a wild error must not widen its own limit.
    limit = CUT * np.sqrt(np.where(np.isnan(scale), np.inf, scale))[:, :, None]
    cut = clipped(error, -limit, limit)
    # Weights, scale and guard see limited errors; `_tally` counts them in full, since scores must be honest.
    mild = _mild(error, limit)
    _learn_window(ledger, rules, slots, mild[:, :, :MEMBER_COUNT])
    _learn_online(ledger, slots, error, limit)
    _learn_overlap(ledger, slots, cut[:, :, MEMBER_COUNT + ONLINE])
    count = ledger.count[slots]
    begin(ledger, rules, slots[(count % REFIT_EVERY == 0) | (count < REFIT_FROM)])
    _learn_scale(ledger, slots, error[:, :, MEMBER_COUNT + ONLINE])
    _guard(ledger, rules, slots, mild)
    _tally(ledger, slots, error)
    return Scored(error, scale)


def _mild(error: Floats, limit: Floats) -> Floats:
    """[n, horizons, rows]: the errors in their proportions, made smaller where even the blend's is wild; cutting each
    by itself would make the worst look like the others."""
    blend = np.abs(error[:, :, MEMBER_COUNT + ONLINE, None])
    factor = np.where(blend > limit, limit / np.maximum(blend, TINY), 1.0)
    # `limit` is CUT usual errors, so this is WILD of them.
    furthest = WILD / CUT * limit
    milder: Floats = clipped(error * factor, -furthest, furthest)
    return milder


def _learn_window(ledger: Ledger, rules: Rules, slots: Ints, error: Floats) -> None:
    """error: [n, horizons, members]."""
    for table, memory in ((ledger.window, rules.memory), (ledger.long, LONG_MEMORY)):
        grams = Grams(table[slots, 0], table[slots, 1]).learned(error, memory)
        table[slots, 0], table[slots, 1] = grams.products, grams.counts
    # By each series' own count, so that it does not depend on where batches are cut.
    count = ledger.count[slots]
    due = slots[(count % REFIT_EVERY == 0) & (count > 0)]
    if len(due):
        ledger.fitted[due] = _fit(ledger.window[due], ledger.long[due])


def _fit(window: Floats, long: Floats) -> Floats:
    """[n, 2, horizons, members, members] each. Returns [n, horizons, members]."""
    n, _, horizons, members, _ = window.shape
    grams = [
        Grams(*(table[:, part].reshape(n * horizons, members, members) for part in (0, 1))) for table in (window, long)
    ]
    return strategies.fit_window(*grams).reshape(n, horizons, members)


def _learn_online(ledger: Ledger, slots: Ints, error: Floats, limit: Floats) -> None:
    published = error[:, :, MEMBER_COUNT + ONLINE, None]
    # The truth cancels out: how far the blend was from each member.
    distance = clipped(published - error[:, :, :MEMBER_COUNT], -limit, limit)
    gradient = clipped(published, -limit, limit)
    regret, second, bound = strategies.online_learn(
        ledger.regret[slots], ledger.second[slots], ledger.bound[slots], gradient=gradient, distance=distance
    )
    ledger.regret[slots], ledger.second[slots], ledger.bound[slots] = regret, second, bound


def _learn_overlap(ledger: Ledger, slots: Ints, error: Floats) -> None:
    """error: [n, horizons], the online strategy's, cut."""
    known = np.isfinite(error)
    news = np.where(known, error, 0.0)
    renewed = ledger.successive[slots]
    renewed[..., 1] += news * renewed[..., 0]
    renewed[..., 2] += news**2
    renewed[..., 0] = np.where(known, news, renewed[..., 0])
    ledger.successive[slots] = renewed


def _independent(ledger: Ledger, rules: Rules, slots: Ints) -> Floats:
    """[n, horizons]: how many independent records the scored ones are worth, by how alike successive errors are."""
    scored = ledger.scored[slots, :, MEMBER_COUNT + ONLINE]
    products, squares = ledger.successive[slots, :, 1], ledger.successive[slots, :, 2]
    seen = scored / (scored + YOUNG)
    alike = seen * products / np.maximum(squares, TINY) + (1.0 - seen) * (1.0 - 1.0 / rules.steps)
    # Squares are alike as the square of what errors are.
    share = 1.0 / (1.0 + SHARED * (rules.steps - 1) * np.minimum(np.maximum(alike, 0.0), 1.0) ** 2)
    worth: Floats = np.minimum(scored, 1.0 + np.maximum(scored - 1.0, 0.0) * share)
    return worth


def begin(ledger: Ledger, rules: Rules, slots: Ints) -> None:
    """What the online weights begin from, and how far they have come."""
    if not len(slots):
        return
    records = _independent(ledger, rules, slots)
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
        begin(ledger, rules, heard)


def _learn_scale(ledger: Ledger, slots: Ints, published: Floats) -> None:
    """published: [n, horizons], the online strategy's error."""
    scale = ledger.scale[slots]
    known = np.isfinite(published)
    # Once settled, one glitch raises the scale by a fifth at most; errors that stay large are soon usual.
    square = np.where(scale > 0, np.minimum(published**2, (2 * CUT) ** 2 * scale), published**2)
    memory = np.maximum(SCALE_MEMORY, 1.0 / (_age(ledger, slots) + 1.0))
    moved = np.where(np.isnan(scale), square, scale + memory * (square - scale))
    ledger.scale[slots] = np.where(known, moved, scale)


def _guard(ledger: Ledger, rules: Rules, slots: Ints, error: Floats) -> None:
    """Has persistence published from when the active strategy falls clearly behind it until it is as good again.

    error: [n, horizons, rows], made milder. Both are judged by what they would have published, whether it was or not.
    """
    # In ROWS the strategies follow the M members, of which persistence is the first.
    square = error[:, :, [MEMBER_COUNT + rules.active, 0]] ** 2
    known = np.isfinite(square[..., 0]) & np.isfinite(square[..., 1])
    before, age = ledger.rivals[slots], ledger.count[slots][:, None] - ledger.compared[slots]
    memory = np.maximum(rules.guard[:, None], 1.0 / (age[..., None] + 1.0))
    rivals = np.where(known[..., None], before + memory * (square - before), before)
    ledger.rivals[slots] = rivals
    guarded = ledger.guarded[slots]
    # Hysteresis: on at the margin, off at equality, so that it does not switch with every record.
    margin = np.where(guarded, 1.0, GUARD_MARGIN)
    enough = age >= GUARD_AFTER * rules.steps
    ledger.guarded[slots] = np.where(known, enough & (rivals[..., 0] > margin * rivals[..., 1]), guarded)


def _age(ledger: Ledger, slots: Ints) -> Ints:
    """[n, horizons]: records seen since the horizon is there."""
    age: Ints = ledger.count[slots][:, None] - ledger.since[slots]
    return age


def _tally(ledger: Ledger, slots: Ints, error: Floats) -> None:
    # Each row is compared with persistence on the records that both forecast, hence `naive` for every row.
    naive = error[:, :, :1]
    known = np.isfinite(error) & np.isfinite(naive)
    square = np.where(known, error**2, 0.0)
    ledger.scored[slots] += known
    ledger.squared[slots] += square
    ledger.absolute[slots] += np.where(known, np.abs(error), 0.0)
    ledger.naive[slots] += np.where(known, naive**2, 0.0)
    recent = ledger.recent[slots]
    started = np.where(np.isnan(recent), square, recent)
    ledger.recent[slots] = np.where(known, started + RECENT * (square - started), recent)


def weigh(ledger: Ledger, rules: Rules, slots: Ints, forecasts: Floats) -> tuple[Floats, Floats]:
    """Blends what was forecast now. forecasts: [n, horizons, members], NaN for who sits out.

    Returns the weights, [n, horizons, strategies + 1, members], and the blends, [n, horizons, strategies + 1], what is
    published last, and remembers both forecasts and blends until their truths come.
    """
    present = np.isfinite(forecasts)
    weights = current_weights(ledger, rules, slots, present)
    blends = strategies.blend(weights, forecasts[:, :, None, :], present[:, :, None, :])
    # Where `score` looks for it.
    rows, now = slots[:, None], rules.rings.places(ledger.tick[slots, None])
    ledger.members[rows, now] = forecasts
    ledger.blends[rows, now] = blends
    ledger.count[slots] += 1
    return weights, blends


def current_weights(ledger: Ledger, rules: Rules, slots: Ints, present: Mask) -> Floats:
    """[n, horizons, strategies + 1, members]: the weights as they stand for who is present; see `weigh`."""
    rate = strategies.rate(ledger.second[slots], ledger.bound[slots])
    first, trust = ledger.first[slots], ledger.trust[slots]
    # All at once, the published ones included: their row is filled in last.
    weights = np.empty((*present.shape[:2], STRATEGY_COUNT + 1, MEMBER_COUNT))
    weights[:, :, STATIC], weights[:, :, WINDOW] = rules.static, ledger.fitted[slots]
    weights[:, :, ONLINE], weights[:, :, -1] = strategies.learned(ledger.regret[slots], rate), first
    weights = strategies.normalised(weights, present[:, :, None])
    weights[:, :, ONLINE] = strategies.mixed(weights[:, :, ONLINE], weights[:, :, -1], first, trust, present)
    # Without a forecast of persistence there is nothing to fall back on.
    falls_back = ledger.guarded[slots, :, None] & present[:, :, :1]
    weights[:, :, -1] = np.where(falls_back, ALONE, weights[:, :, rules.active])
    return weights
