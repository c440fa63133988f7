"""Would forecasting help: what was published, scored against the naive forecasts on the same records. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints
from driftline.errors import InvalidInput
from driftline.members import PERSISTENCE
from driftline.scoring import PUBLISHED, rmse, skill
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows, concatenate
from driftline_cli.evaluate import Outcome
from driftline_cli.lengths import DAY_S, WEEK_S, exactly, percent, roughly
from driftline_cli.proposal import HISTORY

YESTERDAY, LAST_WEEK = "yesterday", "last week"
SELDOM = 0.5
"""A rival that is known at less than this share of the records is not compared."""
SEASONS = {YESTERDAY: DAY_S, LAST_WEEK: WEEK_S}
"""By naive forecast how far back it looks, in seconds, or several times as far where that is not yet over."""
NAIVE = (PERSISTENCE, *SEASONS)
HELPS = 0.01
"""Skill from which a forecast helps, where it is no chance."""
LEAST_STRETCHES = 5
CHANCE = 1.65
"""Standard errors that the mean gain of a stretch must be above 0: less comes about by chance in one of twenty."""


WARM_UP_MS = 1000 * (WEEK_S + DAY_S)
"""As far back as the naive forecasts look: who has not seen that, too, is not compared with them."""


@dataclass(frozen=True)
class Split:
    """A file in two, by time. warm_up: the newest records of the history, which are streamed before the others and not
    scored. streamed: the first records after the history; left: how many came after those."""

    history: Rows
    warm_up: Rows
    streamed: Rows
    left: int


class HorizonAnswer(msgspec.Struct, frozen=True):
    """One horizon. rmse: by naive forecast, and `blend`, on the same `n` records, in the target's units.

    ahead: seconds. best: the naive forecast that is best here; skill: 1 - RMSE / its RMSE. won: share of the stretches,
    of a day or as long as `ahead`, in which the blend was better than it. sure: that is more than chance.
    """

    steps: int
    ahead: int
    n: int
    rmse: dict[str, float]
    best: str
    skill: float
    won: float
    sure: bool

    @property
    def helps(self) -> bool:
        return self.skill >= HELPS and self.sure


class Answer(msgspec.Struct, frozen=True):
    """By horizon, ascending."""

    stream: str
    target: str
    horizons: list[HorizonAnswer]


def split(rows: Rows, records: int) -> Split:
    """History and what is streamed, `records` of it at most, in order of time. Raises InvalidInput for too few."""
    ordered = rows.take(np.argsort(rows.t, kind="stable"))
    # By records and not by the clock, so that one wrong time does not move the cut.
    cut = ordered.t[int(HISTORY * len(rows))] if len(rows) else 0
    history, later = ordered.take(ordered.t < cut), ordered.take(ordered.t >= cut)
    if not len(history) or not np.isfinite(history.values[:, 0]).any():
        raise InvalidInput(
            f"found no value of the target in the first {HISTORY:.0%} of the records, expected a history"
        )
    streamed = later.take(slice(0, records))
    return Split(history, _warm_up(history, len(streamed)), streamed, len(later) - len(streamed))


def _warm_up(history: Rows, most: int) -> Rows:
    """The newest of what is in order of time: of many series less than a week where it would take longer than all that
    is scored."""
    newest = history.take(history.t >= history.t[-1] - WARM_UP_MS)
    return newest.take(slice(max(0, len(newest) - most), None))


def answer(stream: StreamDefinition, parts: Split, outcomes: Sequence[Outcome]) -> Answer:
    """outcomes: by horizon, as the stream has them. Raises InvalidInput when nothing could be scored."""
    past = Past.of(concatenate([parts.history, parts.streamed]), stream.time.period)
    horizons = [_horizon(scored, steps, past) for scored, steps in zip(outcomes, stream.horizon, strict=True)]
    scored = [horizon for horizon in horizons if horizon is not None]
    if not scored:
        raise InvalidInput("found no forecast whose truth came later, expected more records to stream")
    return Answer(stream.name, stream.target, scored)


@dataclass(frozen=True)
class Past:
    """What every series measured, to be looked up by time. period: seconds."""

    series: Mapping[str, tuple[Ints, Floats]]
    period: int

    @classmethod
    def of(cls, rows: Rows, period: int) -> "Past":
        known = rows.take(np.isfinite(rows.values[:, 0]))
        return cls({key: (of_key.t, of_key.values[:, 0]) for key, of_key in known.by_key().items()}, period)

    def at(self, keys: npt.NDArray[np.str_], t: Ints) -> Floats:
        """[n]: what the key measured nearest to each time, NaN where that is half a period off."""
        values = np.full(len(t), np.nan)
        for key, (times, measured) in self.series.items():
            of_key = keys == key
            wanted = t[of_key]
            right = np.searchsorted(times, wanted).clip(1, max(1, len(times) - 1))
            right = np.minimum(right, len(times) - 1)
            left = np.maximum(right - 1, 0)
            nearest = np.where(wanted - times[left] <= times[right] - wanted, left, right)
            near = np.abs(times[nearest] - wanted) < 500 * self.period
            values[of_key] = np.where(near, measured[nearest], np.nan)
        return values

    def same_time(self, keys: npt.NDArray[np.str_], t: Ints, ahead: int, season: int) -> Floats:
        """[n]: the value whole seasons before the time that is `ahead` seconds after t, the newest that is known at t.

        NaN for all where a season is no longer than a period: that would be the last value again.
        """
        if season <= self.period:
            return np.full(len(t), np.nan)
        back = -(-ahead // season) * season
        return self.at(keys, t + 1000 * (ahead - back))


def naive(scored: Outcome, ahead: int, past: Past) -> dict[str, Floats]:
    """By name [n] each naive forecast, in the outcome's order."""
    seasons = {name: past.same_time(scored.keys, scored.t, ahead, season) for name, season in SEASONS.items()}
    return {PERSISTENCE: scored.forecasts[PERSISTENCE], **seasons}


def _horizon(scored: Outcome, steps: int, past: Past) -> HorizonAnswer | None:
    if not len(scored.t):
        return None
    ahead = steps * past.period
    rivals = naive(scored, ahead, past)
    blend = scored.forecasts[PUBLISHED]
    mask = np.isfinite(scored.truth) & np.isfinite(blend) & np.isfinite(rivals[PERSISTENCE])
    if not mask.any():
        return None
    # A rival that is seldom known, as last week in a file of ten days, is not scored and narrows nobody.
    kept = {name: row for name, row in rivals.items() if np.isfinite(row[mask]).mean() >= SELDOM}
    mask &= np.all([np.isfinite(row) for row in kept.values()], axis=0)
    truth = scored.truth[mask]
    errors = {name: rmse(row[mask], truth) for name, row in kept.items()}
    best = min(errors, key=lambda name: errors[name])
    errors[PUBLISHED] = rmse(blend[mask], truth)
    gains = _gains(scored.t[mask], (kept[best][mask] - truth) ** 2 - (blend[mask] - truth) ** 2, ahead)
    share = float(np.mean(gains > 0))
    better = skill(errors[PUBLISHED], errors[best])
    return HorizonAnswer(steps, ahead, int(mask.sum()), errors, best, better, share, _sure(gains))


def _gains(t: Ints, gain: Floats, ahead: int) -> Floats:
    """[stretches]: the gain of each; they are so long that what is forecast in one is hardly that of another."""
    _, stretch = np.unique(t // (1000 * max(DAY_S, ahead)), return_inverse=True)
    sums: Floats = np.bincount(stretch, weights=gain).astype(np.float64)
    return sums


def _sure(gains: Floats) -> bool:
    """Whether so much gain is hardly chance: a paired t-test over the stretches, as Diebold and Mariano (1995) do."""
    if len(gains) < LEAST_STRETCHES:
        return False
    return bool(gains.mean() > CHANCE * gains.std(ddof=1) / np.sqrt(len(gains)))


def verdict(given: Answer) -> str:
    """The answer in a sentence."""
    against = "against the best naive forecast"
    helping = [horizon for horizon in given.horizons if horizon.helps]
    others = [horizon for horizon in given.horizons if not horizon.helps]
    if not helping:
        return f"Forecasting does not help here: {'; '.join(map(_not, others))}."
    gains = ", ".join(f"{roughly(horizon.ahead)} ahead by {percent(horizon.skill)}" for horizon in helping)
    limits = f"; it does not help {', nor '.join(map(_not, others))}" if others else ""
    return f"Forecasting helps: {gains} {against}{limits}."


def _not(horizon: HorizonAnswer) -> str:
    gain = round(100 * horizon.skill)
    change = f"{abs(gain)} % {'better than' if gain > 0 else 'worse than'}" if gain else "as good as"
    chance = ", which may be chance" if horizon.skill >= HELPS else ""
    rival = f"the {called(horizon.best)}" if horizon.best == PERSISTENCE else horizon.best
    return f"{roughly(horizon.ahead)} ahead ({change} {rival}{chance})"


def called(rival: str) -> str:
    """A naive forecast in a word or two."""
    return "last value" if rival == PERSISTENCE else rival


def described(parts: Split, stream: StreamDefinition) -> str:
    """How the file was split, in a sentence."""
    first = np.datetime_as_string(np.datetime64(int(parts.streamed.t[0]), "ms"), "m")
    left = f"; the {parts.left:,} after those are left out (--records)" if parts.left else ""
    return (
        f"{len(parts.history):,} records before {first} UTC are the history, the {len(parts.streamed):,} from then on "
        f"are streamed as if they came now, {exactly(stream.time.period)} after {exactly(stream.time.period)}{left}; "
        f"before them the last {len(parts.warm_up):,} of the history are streamed and not scored, so that Driftline, "
        "too, has seen what the naive forecasts look back on"
    )
