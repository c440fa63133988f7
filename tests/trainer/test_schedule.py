"""How long a training takes, by the number of rows."""

import pytest

from driftline.streams.model_sections import TrainingOptions
from driftline_trainer.fitting.schedule import AT_ONCE, LOOKS, NARROW, STEPS, USUAL, Schedule, units_again

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("rows", "passes"), [(10_000, 30), (200_000, 7)])
def test_a_short_history_is_passed_over_more_often(rows: int, passes: int):
    schedule = Schedule.of(TrainingOptions(), rows)
    assert schedule.steps * schedule.batch / rows == pytest.approx(passes, rel=0.1)


@pytest.mark.parametrize("rows", [50, 700, 5000, 1_000_000, 10_000_000])
def test_steps_are_bounded_and_looks_are_about_twenty(rows: int):
    schedule = Schedule.of(TrainingOptions(), rows)
    assert 0.8 * STEPS[0] <= schedule.steps <= 1.05 * STEPS[1]
    assert schedule.stride % AT_ONCE == 0
    assert 0.8 * LOOKS <= schedule.looks <= 1.3 * LOOKS


def test_a_batch_has_no_more_rows_than_there_are():
    assert Schedule.of(TrainingOptions(), 70).batch == 70


def test_the_definition_may_say_steps():
    assert Schedule.of(TrainingOptions(steps=1600), 300).steps == 1600


def test_the_definition_may_say_epochs():
    schedule = Schedule.of(TrainingOptions(epochs=8, batch_size=100), 20_000)
    assert schedule.steps == pytest.approx(8 * 200, rel=0.05)


def test_one_epoch_of_little_is_a_step_or_few():
    assert Schedule.of(TrainingOptions(epochs=1), 100).steps == AT_ONCE


@pytest.mark.parametrize(("rows", "units"), [(500, NARROW), (5000, USUAL), (5_000_000, USUAL)])
def test_a_short_history_gets_a_narrow_network(rows: int, units: tuple[int, ...]):
    assert Schedule.of(TrainingOptions(), rows).units == units
    assert units_again(TrainingOptions(), units[0]) == units


def test_the_definition_may_say_units():
    assert Schedule.of(TrainingOptions(units=(8,)), 500).units == units_again(TrainingOptions(units=(8,)), 64) == (8,)
