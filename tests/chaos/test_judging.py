"""The judge itself: it finds what is missing, what differs, what stands still; and nothing where all is well."""

from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from driftline.messages import Blend, Forecast
from tests.chaos.archived import Archived
from tests.chaos.conftest import KEYS, WINDOW
from tests.chaos.fleet import Restart
from tests.chaos.outcome import Outcome, table
from tests.chaos.published import SETTLED, Blends, Forecasts
from tests.chaos.scene import Scene
from tests.chaos.standstill import BOUND_S, Ends, Watch

TICKS = 10
FIRST, SECOND = {"batch": "v1", "speed": "v2"}, {"batch": "v1", "speed": "v3"}


def forecast(scene: Scene, key: int, tick: int, versions: dict[str, str] | None = None, **members: float) -> Forecast:
    values = {"persistence": 1.0, "rls": 2.0, "stack": 3.0, "batch": 4.0, "speed": 5.0} | members
    return Forecast(
        scene.stream.name,
        scene.name(key),
        scene.t(tick),
        observed=20.0,
        horizon=[1, 6],
        members={name: [value, None] for name, value in values.items()},
        versions=FIRST if versions is None else versions,
        received=100.0,
    )


def blend(scene: Scene, key: int, tick: int, value: float = 1.0) -> Blend:
    return Blend(
        *(scene.stream.name, scene.name(key), scene.t(tick), 20.0, [1, 6]),
        value=[value, None],
        strategy="online",
        strategies={},
        weights={"rls": [1.0, 1.0]},
        members={},
        versions=FIRST,
        received=100.0,
    )


@pytest.fixture
def outcome(scene: Scene) -> Outcome:
    """A run in which all went well."""
    forecasts, blends = Forecasts(scene), Blends(scene)
    archives = (Archived(scene, "windows"), Archived(scene, "results"))
    for key in range(KEYS):
        for tick in range(TICKS):
            forecasts.note(forecast(scene, key, tick), 101.0)
            blends.note(blend(scene, key, tick), 103.0)
        for archive in archives:
            for first in (0, WINDOW):
                ticks = range(first, first + WINDOW)
                archive.add("any name", [scene.name(key)] * WINDOW, [scene.t(tick) for tick in ticks])
    return Outcome(
        seed=1,
        phases=[("at_least_once", 30.0)],
        pace=1.0,
        acknowledged=np.full(KEYS, TICKS),
        forecasts=forecasts,
        blends=blends,
        windows=archives[0],
        results=archives[1],
        watches={"inference": Watch("inference")},
        restarts=[],
        acts=Counter(),
        swaps=2,
        sent_again=0,
    )


def found(outcome: Outcome) -> str:
    return "\n".join(outcome.complaints())


def shown(outcome: Outcome) -> dict[str, str]:
    columns = [list(column.cells) for column in table(outcome).columns]
    return dict(zip(*columns, strict=True))


def test_a_run_in_which_all_went_well_passes(outcome: Outcome):
    assert found(outcome) == ""
    assert shown(outcome)["verdict"] == "passed"
    assert shown(outcome)["longest recovery"].startswith("3.0 s from the door to the blend of sensor-0000/")


def test_a_record_without_forecast_and_blend_is_named_with_its_place(outcome: Outcome, scene: Scene):
    lost = replace(
        outcome, acknowledged=np.array([TICKS, TICKS + 2, TICKS]), places={(1, TICKS): "partition 3 offset 7"}
    )
    assert "2 of 32 acknowledged records have no forecast" in found(lost)
    assert f"no blend of chaos/sensor-0001/{scene.t(TICKS)}: partition 3 offset 7" in found(lost)
    assert f"no blend of chaos/sensor-0001/{scene.t(TICKS + 1)}: not on the records topic" in found(lost)
    assert shown(lost)["forecasts missing"] == "2"
    assert shown(lost)["verdict"] == "FAILED"


def test_a_hole_in_the_middle_is_found(outcome: Outcome, scene: Scene):
    outcome.blends.times[2, 5] = 0
    assert f"no blend of chaos/sensor-0002/{scene.t(5)}" in found(outcome)


def test_what_was_under_way_at_the_end_may_come_and_nothing_else(outcome: Outcome, scene: Scene):
    outcome.forecasts.note(forecast(scene, 0, TICKS), 101.0)
    assert outcome.passed
    outcome.forecasts.note(forecast(scene, 0, TICKS + 1), 101.0)
    assert "1 forecast names that nobody sent" in found(outcome)
    outcome.blends.note(msgspec.structs.replace(blend(scene, 0, 0), key="other"), 101.0)
    assert "1 blend names that nobody sent: other/" in found(outcome)


def test_repeats_are_the_same_to_a_millionth(outcome: Outcome, scene: Scene):
    outcome.forecasts.note(forecast(scene, 0, 3, rls=2.0 + 1e-7), 101.0)
    outcome.blends.note(blend(scene, 0, 3, 1.0 + 1e-7), 101.0)
    assert outcome.passed
    outcome.forecasts.note(forecast(scene, 0, 3, rls=2.0001), 101.0)
    outcome.blends.note(blend(scene, 0, 4, 1.01), 101.0)
    assert f"forecast sensor-0000/{scene.t(3)}: rls_1: first 2.0, then 2.0001" in found(outcome)
    assert f"blend sensor-0000/{scene.t(4)}: blend_1: first 1.0, then 1.01" in found(outcome)


def test_with_another_version_the_others_are_compared_still(outcome: Outcome, scene: Scene):
    outcome.forecasts.note(forecast(scene, 0, 3, SECOND, speed=9.0, stack=9.0), 101.0)
    assert outcome.passed, found(outcome)
    outcome.forecasts.note(forecast(scene, 0, 4, SECOND, batch=9.0), 101.0)
    assert "batch_1: first 4.0, then 9.0" in found(outcome)


def test_the_stack_may_differ_until_the_series_is_past_what_is_done_again(outcome: Outcome, scene: Scene):
    outcome.forecasts.note(forecast(scene, 0, 3, SECOND), 101.0)
    outcome.forecasts.note(forecast(scene, 0, 4, stack=9.0), 101.0)
    assert outcome.passed
    later = 3 + SETTLED
    for value in (3.0, 9.0):
        outcome.forecasts.note(forecast(scene, 0, later, stack=value), 101.0)
    assert "stack_1: first 3.0, then 9.0" in found(outcome)


def test_with_exactly_once_no_name_comes_twice(outcome: Outcome, scene: Scene):
    outcome.forecasts.note(forecast(scene, 0, 3), 101.0)
    assert outcome.passed
    assert replace(outcome, exactly_once_from=4).passed
    assert "1 forecast names came twice with exactly_once" in found(replace(outcome, exactly_once_from=3))


def test_a_forecast_names_the_version_of_each_model(outcome: Outcome, scene: Scene):
    outcome.forecasts.note(forecast(scene, 0, TICKS, {"batch": "v1"}), 101.0)
    assert "1 forecasts do not name their models' versions" in found(outcome)


def test_windows_are_judged_by_their_rows(outcome: Outcome, scene: Scene):
    outcome.windows.times[1].remove(2)
    outcome.results.add("again", [scene.name(2)], [scene.t(0)])
    outcome.results.add("foreign", ["nobody"], [scene.t(0)])
    assert f"windows: sensor-0001: 1 rows missing, the first at {scene.t(2)}" in found(outcome)
    assert "results: sensor-0002: 1 rows twice" in found(outcome)
    assert "results: foreign: " in found(outcome)


def test_what_waits_in_a_window_that_is_not_full_is_no_hole_but_a_full_one_is_asked_for(outcome: Outcome):
    full = replace(outcome, acknowledged=np.full(KEYS, 3 * WINDOW))
    assert "windows: sensor-0000: 4 rows missing" in found(full)


def test_a_service_that_is_not_ready_at_the_end_fails_and_restarts_are_named(outcome: Outcome):
    assert "not ready at the end: ingest" in found(replace(outcome, unready=["ingest: no"]))
    restarted = replace(outcome, restarts=[Restart("ingest", 3.0, "RuntimeError"), Restart("ingest", 9.0, "again")])
    assert restarted.passed
    assert shown(restarted)["restarts nobody caused"] == "ingest 2"


def test_a_run_without_records_shows_nothing_and_fails(outcome: Outcome, scene: Scene):
    blank = replace(outcome, acknowledged=np.zeros(KEYS, dtype=int), forecasts=Forecasts(scene), blends=Blends(scene))
    assert "nothing was acknowledged" in found(blank)


def watched(samples: int, *, input_grows: bool, output_grows: bool, green: bool) -> list[str]:
    watch = Watch("inference")
    for n in range(samples):
        ends = Ends({0: n if input_grows else 0}, {0: n if output_grows else 0})
        watch.sample(float(n), ends, {"inference": green})
    return watch.complaints


def test_green_over_a_partition_that_stands_still_is_told_once():
    (complaint,) = watched(200, input_grows=True, output_grows=False, green=True)
    assert "partition 0 of inference stood still" in complaint


@pytest.mark.parametrize(
    ("samples", "input_grows", "output_grows", "green"),
    [
        (int(BOUND_S), True, False, True),
        (200, False, False, True),
        (200, True, True, True),
        (200, True, False, False),
    ],
    ids=["not for long", "nothing to do", "moving", "said so"],
)
def test_no_standstill(samples: int, *, input_grows: bool, output_grows: bool, green: bool):
    assert watched(samples, input_grows=input_grows, output_grows=output_grows, green=green) == []


def test_a_standstill_counts_from_when_there_was_something_to_do():
    watch = Watch("inference")
    for n in range(300):
        late = n >= 270
        watch.sample(float(n), Ends({0: n if late else 0}, {0: 0}), {"inference": True})
    assert watch.complaints == []
