"""The blends of a batch as messages, within the range of their stream and with no more digits than they have. Pure."""

from collections.abc import Sequence
from math import isnan

import numpy as np

from driftline.arrays import shortened
from driftline.members import MEMBERS
from driftline.messages import Blend, Forecast
from driftline.scoring import LEVELS, STRATEGIES
from driftline.streams.definition import StreamDefinition
from driftline_combiner.rounds import WeighedRound, grid_time

QUANTILES = tuple(str(level) for level in LEVELS)
"""The levels, as blends name them."""
WEIGHT_DIGITS = 7
"""Of weights in blends."""


def blend_messages(stream: StreamDefinition, part: Sequence[Forecast], weighed: WeighedRound) -> list[Blend]:
    """One for each forecast. weighed: what is made of them."""
    strategies, period = weighed.blends.shape[2], stream.time.period * 1000
    quantiles = weighed.blends[:, :, -1:] + weighed.around
    # Shortened, a number may be beyond the range again.
    short = stream.within(shortened(np.concatenate([weighed.blends, quantiles], axis=2), weighed.usual))
    by_member = np.swapaxes(np.round(weighed.weights, WEIGHT_DIGITS), 1, 2).tolist()
    by_strategy = np.swapaxes(short[:, :, :strategies], 1, 2).tolist()
    by_quantile = np.swapaxes(short[:, :, strategies:], 1, 2).tolist()
    ranged = stream.range is not None
    published = []
    for message, member_rows, strategy_rows, by_level, held in zip(
        part, by_member, by_strategy, by_quantile, weighed.guarded.tolist(), strict=True
    ):
        grid_t = grid_time(message)
        blend = Blend(
            stream=message.stream,
            key=message.key,
            t=message.t,
            observed=message.observed,
            horizon=message.horizon,
            value=strategy_rows[-1],
            strategy=stream.weighting.active,
            strategies=dict(zip(STRATEGIES, strategy_rows[:-1], strict=True)),
            weights={name: row for name, row in zip(MEMBERS, member_rows, strict=True) if name in message.members},
            members=_members_within(stream, message) if ranged else message.members,
            versions=message.versions,
            received=message.received,
            lower=by_level[0],
            upper=by_level[-1],
            guarded=held,
            grid_t=grid_t,
            times=[grid_t + h * period for h in message.horizon],
            quantiles=dict(zip(QUANTILES, by_level, strict=True)),
            traceparent=message.traceparent,
        )
        published.append(blend)
    return published


def _members_within(stream: StreamDefinition, message: Forecast) -> dict[str, list[float | None]]:
    rows = {name: np.array(row, dtype=np.float64) for name, row in message.members.items()}
    return {
        name: [None if isnan(value) else value for value in stream.within(row).tolist()] for name, row in rows.items()
    }
