"""Inference takes up what release 0.1.0 saved: it goes on forecasting as that would have, and begins nothing again."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from driftline.members import MODELS
from driftline.messages import Forecast, Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.features import newest
from driftline.streams.futures import Foreseen
from driftline.streams.history import History
from driftline.streams.layout import Layout
from driftline.worker.keyed import KeyedStep
from driftline.worker.late_truths import LateTruths
from driftline.worker.parts import Parts
from driftline_inference.migration import FormerForecastState, migrate
from driftline_inference.plausibility import Usual
from driftline_inference.rls import Filters, Waiting
from driftline_inference.sensor_health import SensorHealth
from driftline_inference.state import NEWEST, ForecastTables, axes_of
from driftline_inference.step import ForecastStep
from tests.upgrade import kept
from tests.upgrade.kept import DEFINITION, KEYS, NEXT, PERIOD_MS, Kept, following, forecasts_of

LAYOUT = Layout.of(kept.stream())
FUTURES = "futures: {f: level, d: angle}\n"
TOKYO, GROUPED = "calendar: {zone: Asia/Tokyo}\n", "group: all\n"


@pytest.fixture(scope="module")
def released() -> Kept:
    return kept.load()


def taken_up(
    states: dict[str, bytes], definition: StreamDefinition | None = None
) -> tuple[ForecastStep, KeyedStep[Record]]:
    stream_step = kept.forecast_step(definition)
    step: KeyedStep[Record] = KeyedStep({"kept": stream_step}, lambda _stream, _reason: None)
    step.restore(0, {f"kept/{key}": state for key, state in states.items()})
    return stream_step, step


def values(forecasts: Sequence[Forecast], member: str) -> npt.NDArray[np.float64]:
    """[forecasts, horizons]."""
    return np.array([forecast.members[member] for forecast in forecasts], dtype=np.float64)


def truths(forecasts: Sequence[Forecast]) -> npt.NDArray[np.float64]:
    """[forecasts, horizons]; NaN where none came."""
    known = {(record.key, record.t): record.values["y"] for record in following()}
    rows = [[known.get((f.key, f.t + h * PERIOD_MS)) for h in f.horizon] for f in forecasts]
    return np.array(rows, dtype=np.float64)


def rmse(difference: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.sqrt(np.nanmean(difference**2, axis=0))


@pytest.mark.parametrize(
    ("more", "apart"),
    [("", 0.05), (TOKYO, 0.05), (GROUPED, 0.25), (FUTURES, 0.05)],
    ids=["as it was", "in a zone", "in a group", "ahead"],
)
def test_the_members_forecast_as_that_release_would_have(released: Kept, more: str, apart: float):
    _, step = taken_up(released.forecast_states, parse(DEFINITION + more, "kept.yaml"))
    forecasts = forecasts_of(step, [msgspec.structs.replace(record, group="all") for record in following()])
    assert [(f.key, f.t) for f in forecasts] == [(f.key, f.t) for f in released.forecasts]
    naive = rmse(values(released.forecasts, "persistence") - truths(released.forecasts))
    for member in ("rls", "stack"):
        difference = rmse(values(forecasts, member) - values(released.forecasts, member))
        assert (difference < apart * naive).all(), (member, difference / naive)
    # A filter that begins again is far from it.
    new = forecasts_of(kept_step(), following())
    assert (rmse(values(new, "rls") - values(released.forecasts, "rls")) > 0.3 * naive).all()


def kept_step() -> KeyedStep[Record]:
    return KeyedStep({"kept": kept.forecast_step()}, lambda _stream, _reason: None)


def test_the_day_before_is_known_and_the_week_before_is_not(released: Kept):
    _, step = taken_up(released.forecast_states)
    forecasts = forecasts_of(step, following())
    assert values(forecasts, "seasonal") == pytest.approx(values(released.forecasts, "seasonal"), rel=1e-6)
    assert not any("weekly" in forecast.members for forecast in forecasts)


def test_a_model_has_its_lags(released: Kept):
    _, step = taken_up(released.forecast_states)
    forecasts = forecasts_of(step, following())
    assert values(forecasts, "batch") == pytest.approx(values(released.forecasts, "batch"))


def test_what_was_forecast_waits_at_the_tick_that_it_was_forecast_from(released: Kept):
    saved = msgspec.msgpack.decode(released.forecast_states["south"], type=FormerForecastState)
    tables = migrate(saved, kept.stream(), Parts(blank(), axes_of(kept.stream()), NEWEST), blank())
    waiting, history = tables.waiting, tables.history
    former = {tick_of_record(record): record for record in kept.learned() if record.key == "south"}
    assert waiting.tick[0] == history.tick[0] == max(former)
    ring = waiting.last.shape[1]
    expected = np.array([former[max(former) - back].values["y"] for back in range(ring)], dtype=np.float64)
    assert waiting.last[0, (max(former) - np.arange(ring)) % ring] == pytest.approx(expected, nan_ok=True)
    # The terms of the newest record are those that today's code would make of it.
    inputs = newest(history, LAYOUT, np.array([0]), np.array([saved.t]))
    mean_of_days = LAYOUT.rls_terms - 2
    made = np.delete(inputs.rls[0], mean_of_days, axis=1)
    now = waiting.rings(LAYOUT.steps).places(np.array([[max(former)]]))[0]
    kept_terms = waiting.terms[0, now, : LAYOUT.rls_terms]
    assert np.delete(kept_terms, mean_of_days, axis=1) == pytest.approx(made, abs=1e-5)


def tick_of_record(record: Record) -> int:
    return (record.t - KEYS[record.key]) // PERIOD_MS


def blank() -> ForecastTables:
    horizon, terms, models = kept.stream().horizon, LAYOUT.rls_terms, len(MODELS)
    return ForecastTables(
        History.empty(1, LAYOUT),
        Waiting.empty(1, horizon, terms + models, kept.stream().patience),
        Filters.empty(1, horizon, terms),
        Filters.empty(1, horizon, terms + models, trusted=terms),
        SensorHealth.empty(1, LAYOUT.columns, LAYOUT.period),
        Usual.empty(1, LAYOUT.columns),
        LateTruths.empty(1, kept.stream().patience),
        Foreseen.empty(1, 0, 0),
    )


def test_a_truth_that_was_awaited_may_still_come(released: Kept):
    stream_step, _ = taken_up(released.forecast_states)
    for missing in (record for record in kept.learned() if record.t >= kept.BEGIN_MS + 397 * PERIOD_MS):
        brought = msgspec.structs.replace(missing, values={**missing.values, "y": 10.0})
        assert stream_step.awaits(brought) == (missing.values["y"] is None)


def test_taken_up_twice_it_is_the_same_and_from_then_on_it_is_a_state_of_today(released: Kept):
    once, _ = taken_up(released.forecast_states)
    twice, again = taken_up(released.forecast_states)
    again.restore(0, {f"kept/{key}": state for key, state in released.forecast_states.items()})
    for key in KEYS:
        assert once.save(key) == twice.save(key)
    today, _ = taken_up({key: once.save(key) for key in KEYS})
    assert [today.save(key) for key in KEYS] == [once.save(key) for key in KEYS]


@pytest.mark.parametrize("part", ["arrays", "rls", "stack"])
@pytest.mark.parametrize(
    "spoil", [lambda body: body[:-1], lambda body: body[:-8], lambda body: body + b"8 bytes.", bytes]
)
def test_a_state_of_another_size_begins_again(released: Kept, part: str, spoil) -> None:
    saved = msgspec.msgpack.decode(released.forecast_states["north"], type=FormerForecastState)
    body = spoil(b"" if spoil is bytes else getattr(saved, part))
    spoilt = msgspec.msgpack.encode(msgspec.structs.replace(saved, **{part: body}))
    stream_step, step = taken_up({"north": spoilt, "south": released.forecast_states["south"]})
    assert (stream_step.last_t("north"), stream_step.last_t("south")) == (None, released_t(released, "south"))
    assert len(forecasts_of(step, following())) == NEXT * len(KEYS)


def released_t(released: Kept, key: str) -> int:
    return msgspec.msgpack.decode(released.forecast_states[key], type=FormerForecastState).t


@pytest.mark.parametrize("change", [("lags: 3", "lags: 4"), ("[1, 6]", "[1, 7]"), ("patience: 4", "patience: 5")])
def test_a_state_of_another_definition_begins_again(released: Kept, change: tuple[str, str]):
    stream_step, _ = taken_up(released.forecast_states, parse(DEFINITION.replace(*change), "kept.yaml"))
    assert all(stream_step.last_t(key) is None for key in KEYS)
