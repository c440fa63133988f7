"""The page of `driftline accuracy`: every rival is scored on the blend's own records, and the tables say it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from driftline.errors import InvalidInput
from driftline.scoring import rmse
from driftline.streams import definition_files
from driftline_cli import accuracy, accuracy_page, references
from driftline_cli.accuracy import AccuracyPlan, Line, Subject, Summary
from driftline_cli.evaluate import Outcome
from driftline_cli.rivals import MIXTURE, ONE_SHIFT, References, Rival, compared
from scripts.results import tables
from tests.conftest import ROOT
from tests.generated import definition as house
from tests.generated import generated

LINE = Line(
    1,
    {"persistence": 2.0, "online": 1.1, "blend": 1.0},
    skill=0.5,
    coverage=0.9,
    least=0.8,
    back=None,
    rivals={"last week": Rival(4.0, 0.25), "boosting": Rival(0.8, 1.25)},
)


def summary(stream: str, drift: str, line: Line = LINE) -> Summary:
    return Summary(stream, drift, records=10, retrains=1, alerts=0.0, seconds=1.0, lines=[line])


def subject(name: str, section: str) -> Subject:
    rows = generated(2)
    return Subject(house().model_copy(update={"name": name}), rows, rows, ("none",), section)


def outcome_of(days: int) -> Outcome:
    """Two keys, alike but for their level, and members that are wrong in known ways; the blend is their mean."""
    stream, rows = house(), generated(days)
    series = references.timelines(rows, stream)["all"]
    truth = np.tile(series.target(series.slots + 1), 2)
    wrong = np.tile(np.where(np.arange(len(rows)) % 2, 0.1, -0.1), 2)
    forecasts = {"persistence": truth + wrong, "rls": truth - wrong, "blend": truth + 0.5 * wrong}
    keys = np.repeat(["a", "b"], len(rows))
    return Outcome(keys, np.tile(rows.t, 2), truth, forecasts, truth - 1, truth + 1)


@pytest.mark.unit
def test_rivals_are_scored_on_the_records_of_the_blend_key_by_key():
    stream, rows, scored = house(), generated(20), outcome_of(20)
    series = references.timelines(rows, stream)["all"]
    others = References(stream, {"a": series, "b": series}, references.naive(stream)).forecasts(scored, 0)
    masks = [np.isfinite(scored.truth) & (scored.keys == key) for key in ("a", "b")]
    rivals = compared(scored, others, masks)
    last_week = others["last week"]
    both = masks[0] & np.isfinite(last_week)
    assert 0 < both.sum() < masks[0].sum()
    assert rivals["last week"].rmse == pytest.approx(rmse(last_week[both], scored.truth[both]))
    assert rivals["last week"].share == pytest.approx(0.05 / rivals["last week"].rmse)
    # Half of the one and half of the other is never wrong.
    assert rivals[MIXTURE].rmse == pytest.approx(0, abs=1e-6)
    assert rivals[ONE_SHIFT].rmse == pytest.approx(0, abs=1e-6)


@pytest.mark.unit
def test_a_member_that_came_late_is_in_no_mixture():
    scored = outcome_of(20)
    late = np.where(np.arange(len(scored.t)) % 480 > 100, scored.truth, np.nan)
    # Without the late one, which is always right, and with one member alone nothing is better than that.
    alone = replace(scored, forecasts={name: scored.forecasts[name] for name in ("persistence", "blend")})
    with_late = replace(alone, forecasts={**alone.forecasts, "speed": late})
    masks = [np.isfinite(scored.truth) & (scored.keys == key) for key in ("a", "b")]
    assert compared(with_late, {}, masks)[MIXTURE].rmse == pytest.approx(0.1)


@pytest.mark.unit
def test_a_rival_that_forecast_nothing_has_no_score():
    scored = outcome_of(2)
    nothing = np.full(len(scored.t), np.nan)
    rival = compared(scored, {"last week": nothing}, [np.isfinite(scored.truth)])["last week"]
    assert np.isnan([rival.rmse, rival.share]).all()


@pytest.mark.unit
def test_the_page_has_a_table_for_each_stream_and_one_for_streams_that_share_a_section():
    subjects = [subject("wind", "wind"), subject("house", "load profiles"), subject("shop", "load profiles")]
    other = replace(LINE, rivals={"last week": Rival(2.0, 0.75), "boosting": Rival(1.0, 1.0)})
    runs = [
        [summary("wind", "none"), summary("wind", "step")],
        [summary("house", "none")],
        [summary("shop", "none", other)],
    ]
    by_heading = tables(accuracy_page.render(runs, AccuracyPlan(subjects, 3000)))
    assert by_heading["wind / 1 ahead"]["none"]["blend"] == "1"
    assert by_heading["wind / 1 ahead / 1 ahead, compared"]["step"]["boosting"] == "0.8 (1.250)"
    shared = by_heading["load profiles / 1 ahead / 1 ahead, compared"]
    assert list(shared) == ["house", "shop", "mean"]
    assert (shared["shop"]["last week"], shared["mean"]["last week"]) == ("2 (0.750)", "(0.500)")
    assert shared["mean"]["boosting"] == "(1.125)"


@pytest.mark.unit
def test_a_stream_that_is_not_there_is_refused_before_anything_is_read(tmp_path: Path):
    streams = list(definition_files.load_folder(ROOT / "streams").values())
    with pytest.raises(
        InvalidInput, match="found no stream 'sun', expected one of active-power, outdoor-temperature, active-power-tog"
    ):
        accuracy.read_plan(streams, tmp_path / "none.parquet", 0, 3000, only=["sun"], cache=tmp_path)


def last_value(*_: object) -> references.Reference:
    """A reference that learns nothing; of the module, so that another process can run it."""
    return lambda series, slots, _index: series.target(slots)


@pytest.mark.training
@pytest.mark.e2e
def test_others_see_the_same_records_as_the_chain_with_a_drift_too():
    rows, small = generated(90, outage=(50, 2)), house().training.model_copy(update={"epochs": 1, "networks": 1})
    stream = house(horizon=(1, 6)).model_copy(update={"training": small})
    measured = Subject(stream, rows.take(slice(0, 1500)), rows.take(slice(1500, None)), ("noise",), "house")
    runs = accuracy.run(AccuracyPlan([measured], 500), last_value, lambda *_: None, workers=2)
    lines = runs[0][0].lines
    assert [line.horizon for line in lines] == [1, 6]
    for line in lines:
        # What repeats the last value is persistence, and is scored like it.
        assert line.rivals["boosting"].rmse == pytest.approx(line.rmse["persistence"])
        assert (
            line.rivals[ONE_SHIFT].rmse <= line.rivals[MIXTURE].rmse <= min(line.rmse["persistence"], line.rmse["rls"])
        )
