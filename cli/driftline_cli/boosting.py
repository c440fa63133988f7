"""A gradient boosting model as most would make one: trained once on the history, one for each horizon and for all keys.

It learns the difference to the newest value from lags, the day and the week before at the time that is forecast, the
local calendar of that time, and the other columns' newest values. Needs LightGBM, which no distribution brings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import lightgbm
import numpy as np

from driftline.arrays import Floats, Ints, Mask
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_values import DAY_S
from driftline.streams.rows import Rows
from driftline_cli.references import WEEK_S, SeriesOnGrid, back, span_of, timelines

LAGS = (1, 2, 3, 4, 5, 6, 8, 12, 18, 24, 36, 48)
BLOCKS, HELD_OUT = 50, 10
"""The history in so many stretches of time. Every tenth is held out to choose the number of rounds: the end alone is of
one season, and chooses badly for a year."""
RARE = 0.0005
"""This share of the changes, at either end, is cut to the largest of the others: with squared errors a few glitches
would be all that is learned."""
MOST_ROWS = 100_000
"""Of a longer history so many rows are drawn; it fits in seconds."""
ROUNDS, PATIENCE = 500, 50
PARAMETERS: Mapping[str, Any] = {
    "objective": "l2",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 0,
    "verbosity": -1,
}
HALF_HOUR_S = 1800
"""No zone changes its offset within one."""


@dataclass(frozen=True)
class BoostedTrees:
    """One model a horizon. None: the history had nothing to learn from."""

    stream: StreamDefinition
    models: Sequence[lightgbm.Booster | None]

    def __call__(self, series: SeriesOnGrid, slots: Ints, index: int) -> Floats:
        """[n]: see `references.Reference`; NaN where the newest value is missing."""
        model = self.models[index]
        if model is None or not len(slots):
            return np.full(len(slots), np.nan)
        change = model.predict(inputs(self.stream, series, slots, self.stream.horizon[index]))
        return series.target(slots) + np.asarray(change, dtype=np.float64)


def fit(stream: StreamDefinition, history: Rows) -> BoostedTrees:
    """Trained once, for every horizon of the stream."""
    of_keys = list(timelines(history, stream).values())
    return BoostedTrees(stream, [_fit(stream, of_keys, steps) for steps in stream.horizon])


@dataclass(frozen=True)
class _Examples:
    """slots: [n] when it is forecast. inputs: [n, terms]. change: [n] the target's, from then to the horizon."""

    slots: Ints
    inputs: Floats
    change: Floats

    def dataset(self, which: Any = slice(None)) -> lightgbm.Dataset:
        return lightgbm.Dataset(self.inputs[which], self.change[which], free_raw_data=False)


def _fit(stream: StreamDefinition, of_keys: Sequence[SeriesOnGrid], steps: int) -> lightgbm.Booster | None:
    examples = _examples(stream, of_keys, steps)
    if not len(examples.slots):
        return None
    learned, held_out = _sides(examples.slots, steps)
    rounds = ROUNDS // 5
    if learned.any() and held_out.any():
        rounds = _best_rounds(examples.dataset(learned), examples.dataset(held_out))
    return lightgbm.train({**PARAMETERS}, examples.dataset(), rounds)


def _sides(slots: Ints, steps: int) -> tuple[Mask, Mask]:
    """[n] which examples are learned from and which held out; what reaches from one side to the other is neither."""
    length = max(1, -(-int(np.ptp(slots)) // BLOCKS))
    begin, end = ((times - slots.min()) // length % HELD_OUT == HELD_OUT // 2 for times in (slots, slots + steps))
    return ~begin & ~end, begin & end


def _best_rounds(learned: lightgbm.Dataset, held_out: lightgbm.Dataset) -> int:
    stopping = lightgbm.early_stopping(PATIENCE, verbose=False)
    model = lightgbm.train({**PARAMETERS}, learned, ROUNDS, valid_sets=[held_out], callbacks=[stopping])
    return max(1, model.best_iteration)


def _examples(stream: StreamDefinition, of_keys: Sequence[SeriesOnGrid], steps: int) -> _Examples:
    known = [_known(series, steps) for series in of_keys]
    share = min(1.0, MOST_ROWS / max(1, sum(map(len, known))))
    random = np.random.default_rng(0)
    drawn = [slots[random.random(len(slots)) < share] for slots in known]
    pairs = list(zip(of_keys, drawn, strict=True))
    changes = [series.target(slots + steps) - series.target(slots) for series, slots in pairs]
    rows = [inputs(stream, series, slots, steps) for series, slots in pairs]
    return _Examples(np.concatenate(drawn), np.concatenate(rows), _cut(np.concatenate(changes)))


def _cut(change: Floats) -> Floats:
    if not len(change):
        return change
    least, most = np.quantile(change, [RARE, 1 - RARE])
    return np.clip(change, least, most)


def _known(series: SeriesOnGrid, steps: int) -> Ints:
    """The slots at which the target and its truth are known."""
    both = np.isfinite(series.values[:, 0]) & np.isfinite(series.target(series.slots + steps))
    slots: Ints = series.slots[both]
    return slots


def inputs(stream: StreamDefinition, series: SeriesOnGrid, slots: Ints, steps: int) -> Floats:
    """[n, terms]: what a model of that horizon is fed with; NaN missing."""
    newest = series.at(slots)
    last = newest[:, 0]
    spans = [span for span in (span_of(DAY_S, stream), span_of(WEEK_S, stream)) if span]
    looked_back = [*LAGS, *spans, *(back(steps, span) - steps for span in spans)]
    changes = [series.target(slots - lag) - last for lag in looked_back]
    clock = calendar((slots + steps) * stream.time.period, ZoneInfo(stream.zone))
    return np.column_stack([last, *changes, clock, newest[:, 1:]])


def calendar(seconds: Ints, zone: tzinfo) -> Floats:
    """[n, 3]: hour, weekday from Monday's 0, and day of the year, local. seconds: since the epoch."""
    local = seconds + _offsets(seconds, zone)
    days = local // DAY_S
    dates = days.astype("datetime64[D]")
    of_year = (dates - dates.astype("datetime64[Y]")).astype(np.int64)
    # The epoch began on a Thursday.
    return np.column_stack([local % DAY_S / 3600, (days + 3) % 7, of_year]).astype(np.float64)


def _offsets(seconds: Ints, zone: tzinfo) -> Ints:
    """[n] seconds that the zone is ahead of UTC."""
    parts, which = np.unique(seconds // HALF_HOUR_S, return_inverse=True)
    ahead = [datetime.fromtimestamp(int(part) * HALF_HOUR_S, zone).utcoffset() for part in parts]
    offsets = np.array([0 if offset is None else int(offset.total_seconds()) for offset in ahead], dtype=np.int64)
    return offsets[which]
