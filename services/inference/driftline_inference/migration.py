"""Takes up what release 0.1.0 saved of a series, so that nothing is learned twice. Pure.

Carried over: the newest values, averages and what is usual of every column, the last day, the filters with all that
they have learned, what was forecast and waits for its truth, the health of sensors, truths that may still come. Days
before the last one were kept as a mean alone, from which no day can be had back: they fill up again within a week, as
the week before does, and until then the mean of days is that of those that are known. What a filter has learned of a
term that there was not begins as in a new filter.
"""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats
from driftline.streams.calendar import HOUR
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_values import DAY_S
from driftline.streams.grid import phase_of, tick_of
from driftline.streams.layout import MEMORIES, RLS_LAGS, Layout
from driftline.worker.former import Dims, by_tick, former_fingerprint, former_rows, former_season
from driftline.worker.parts import Axes, Parts, Ring, UnreadableState
from driftline_inference.state import MODEL_TERMS, ForecastTables, axes_of, filter_terms

FORMER_STATE = 3
DAY_MS = DAY_S * 1000
HOUR_TERMS = 4
"""Sines of both harmonics of the time of day, then their cosines."""
DAILY_TERMS = ("day ago", "day on", "days on")
Rows = dict[str, npt.NDArray[Any]]
"""By part, see `driftline.worker.parts`."""
ARRAYS: dict[str, Dims | None] = {
    "history.count": None,
    "history.recent": None,
    # By time of day in UTC the target's newest value, and its mean over the last days.
    "day": ("season", 2),
    "history.steady": None,
    # What `day` held for the newest record's time before it came.
    "before": (2,),
    "history.moving": None,
    # Its ticks were counts of records, and its rings went by number.
    "waiting.tick": None,
    "waiting.terms": None,
    "waiting.last": None,
    "waiting.scale": None,
    "health.count": (),
    "health.t": None,
    "health.gap": None,
    "health.value": None,
    "health.averages": None,
    "health.usual": None,
    "health.extreme": None,
    "health.leap": None,
    "health.jump": None,
    "health.base": None,
    "health.held": None,
    "health.run": None,
    "health.longest": None,
    # How many records were seen.
    "late.tick": None,
    "late.t": None,
}
"""In the order in which they were saved, by the names of today's parts; what they went over, where it was something
else."""


class FormerForecastState(msgspec.Struct, frozen=True, array_like=True):
    """The checkpoint of one series."""

    definition: str
    t: int
    arrays: bytes
    rls: bytes
    stack: bytes
    heard: int | None = None


def decoded(data: bytes) -> FormerForecastState:
    """Raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=FormerForecastState)


def former_signature(stream: StreamDefinition) -> str:
    """What that release wrote into the states of a stream of this definition."""
    season, terms = former_season(stream), len(_former_terms(stream))
    return f"{FORMER_STATE}-{former_fingerprint(stream)}-{season}-{terms}-{stream.patience}"


def migrate(
    saved: FormerForecastState, stream: StreamDefinition, parts: Parts, blank: ForecastTables
) -> ForecastTables:
    """The state in today's tables of one slot, which `blank` gives, and which is changed. Raises UnreadableState."""
    if saved.definition != former_signature(stream):
        raise UnreadableState(f"found a state of {saved.definition}, expected {former_signature(stream)}")
    axes = _former_axes(stream)
    rows = former_rows(saved.arrays, ARRAYS, axes, parts)
    for name, data in (("rls", saved.rls), ("stack", saved.stack)):
        arrays = dict.fromkeys(f"{name}.{array}" for array in ("weights", "variance", "noise"))
        rows |= former_rows(data, arrays, axes, parts)
    count = int(rows["history.count"])
    if count < 1:
        raise UnreadableState("found a state without a record")
    layout = Layout.of(stream)
    newest = np.array([saved.t], dtype=np.int64)
    phase = phase_of(newest, layout.period)
    ticks = tick_of(newest, phase, layout.period)
    tick = int(ticks[0])
    for name in ("waiting.tick", "late.tick"):
        rows[name] = ticks[0]
    # All of them lie in a row, as far as the ring goes.
    rows |= {"history.tick": ticks[0], "history.phase": phase[0], "history.start": ticks[0] - count + 1}
    for name in ("history.recent", "waiting.terms", "waiting.last", "waiting.scale", "late.t"):
        rows[name] = by_tick(rows[name], count, tick)
    rows["health.count"] = np.repeat(rows["health.count"], layout.columns).astype(np.int64)
    _turn_hours(rows, stream, saved.t)
    parts.copy(rows, axes, blank)
    season = former_season(stream)
    if season and layout.remembered > season:
        # The place of a time of day was its number of periods since midnight in UTC; the newest record's place holds
        # that record, the others what came up to a day before it. What it has replaced was a whole day before it.
        back = (saved.t // layout.period - np.arange(season)) % season
        blank.history.season[0, (tick - back) % layout.remembered] = rows["day"][:, 0]
        blank.history.season[0, (tick - season) % layout.remembered] = rows["before"][0]
    return blank


def _former_terms(stream: StreamDefinition) -> tuple[str, ...]:
    """By their names of today, in the order of that release: bias, lags, averages, the time of day, other columns, the
    day before."""
    terms = filter_terms(stream)
    alike = 1 + min(RLS_LAGS, stream.lags - 1) + len(MEMORIES)
    hours = _hours(terms)
    columns = [term for term in terms if "column " in term]
    return (*terms[:alike], *hours, *columns, *(DAILY_TERMS if former_season(stream) else ()))


def _hours(terms: tuple[str, ...]) -> tuple[str, ...]:
    first = next(position for position, term in enumerate(terms) if term.startswith("sine day"))
    return terms[first : first + HOUR_TERMS]


def _former_axes(stream: StreamDefinition) -> Axes:
    terms = _former_terms(stream)
    stacked = (*terms, *MODEL_TERMS)
    return {
        **axes_of(stream),
        "terms": terms,
        "stack.terms": stacked,
        "waiting.terms": stacked,
        "season": Ring(former_season(stream)),
    }


def _turn_hours(rows: Rows, stream: StreamDefinition, t: int) -> None:
    """Makes what terms, weights and variances say of the time of day mean today's.

    The time of day was that of the record in UTC, and is that of the time that is forecast in the local zone: the
    same circle, turned by the time between them. t: at which the zone's offset is looked up.
    """
    layout, terms = Layout.of(stream), _former_terms(stream)
    local = layout.calendar.terms(t + layout.steps * layout.period)[:, HOUR]
    turn = np.arctan2(local[:, 0], local[:, 1]) - 2 * np.pi * (t % DAY_MS) / DAY_MS
    first = terms.index(_hours(terms)[0])
    hours = slice(first, first + HOUR_TERMS)
    # A filter says the same of turned terms when its weights are turned, too, and its variance from both sides.
    for name, more in (("rls", 0), ("stack", len(MODEL_TERMS))):
        matrix = _turns(turn, hours, len(terms) + more)
        rows[f"{name}.weights"] = np.einsum("hft,hf->ht", matrix, rows[f"{name}.weights"])
        rows[f"{name}.variance"] = np.swapaxes(matrix, 1, 2) @ rows[f"{name}.variance"] @ matrix
    rows["waiting.terms"] = rows["waiting.terms"].copy()
    former = rows["waiting.terms"][..., hours]
    rows["waiting.terms"][..., hours] = np.einsum(
        "rhf,hft->rht", former, _turns(turn, slice(0, HOUR_TERMS), HOUR_TERMS)
    )


def _turns(turn: Floats, hours: slice, width: int) -> Floats:
    """[horizons, width, width]: what a former term is in today's. turn: [horizons] angles."""
    matrix = np.tile(np.eye(width), (len(turn), 1, 1))
    matrix[:, hours, hours] = np.stack([_turn(angle) for angle in turn])
    return matrix


def _turn(angle: float) -> Floats:
    """[4, 4]: sines and cosines as they were, from those of a time that is later by `angle` of the day's circle."""
    turned = np.zeros((HOUR_TERMS, HOUR_TERMS))
    for harmonic in (0, 1):
        sine, cosine = np.sin((harmonic + 1) * angle), np.cos((harmonic + 1) * angle)
        # Sine and cosine of a harmonic were two places apart, and lie next to each other today.
        turned[[harmonic, 2 + harmonic], 2 * harmonic : 2 * harmonic + 2] = [[cosine, -sine], [sine, cosine]]
    return turned
