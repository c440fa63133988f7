"""A blend as rows."""

from msgspec.structs import replace

from driftline_combiner.sinks.forecast_rows import forecast_rows, truth_row
from tests.combiner.sinks.blends import BEGIN, HOUR, TANK, blend


def test_a_blend_is_a_row_for_each_horizon_with_the_time_that_it_is_for():
    first, last = forecast_rows(blend(2, "k 0/x"), TANK)
    assert (first.stream, first.key, first.issued) == ("tank", "k 0/x", BEGIN + 2 * HOUR)
    assert (first.horizon, first.ahead, first.t) == (1, 3600, BEGIN + 3 * HOUR)
    assert (first.value, first.lower, first.upper, first.quantiles) == (2.5, 1.0, 4.0, {"0.5": 2.4})
    assert (first.unit, first.strategy, first.versions) == ("kW", "online", {"batch": "v000001"})
    assert (last.horizon, last.t, last.value, last.lower) == (6, BEGIN + 8 * HOUR, None, None)


def test_numbers_that_json_and_databases_lack_are_unknown():
    odd = replace(blend(0), value=[float("nan"), float("inf")], lower=[], upper=[])
    assert [(row.value, row.lower) for row in forecast_rows(odd, TANK)] == [(None, None), (None, None)]


def test_a_blend_of_a_former_release_has_its_times_from_the_period():
    former = replace(blend(2), times=[], quantiles={}, lower=[], upper=[])
    assert [row.t for row in forecast_rows(former, TANK)] == [BEGIN + 3 * HOUR, BEGIN + 8 * HOUR]


def test_a_truth_lies_on_the_grid_where_the_forecasts_for_it_lie():
    late = replace(blend(2), t=BEGIN + 2 * HOUR + 7000, grid_t=BEGIN + 2 * HOUR)
    truth = truth_row(late, TANK)
    assert (truth.t, truth.observed, truth.unit) == (BEGIN + 2 * HOUR, 2.0, "kW")
    assert truth.t == forecast_rows(blend(1), TANK)[0].t
    assert truth_row(replace(late, observed=None), TANK) is None
