"""The answer: naive forecasts by time, the best of them, and an honest sentence."""

import re
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from driftline.errors import InvalidInput
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows
from driftline_cli.answer import Answer, HorizonAnswer, Past, answer, described, naive, split, verdict
from driftline_cli.evaluate import Outcome

HOUR_MS = 3_600_000
DAYS = 20
N = 24 * DAYS


@pytest.fixture(scope="module")
def stream() -> StreamDefinition:
    return parse("name: a\ntime: {column: t, period: 1h}\ntarget: y\nhorizon: [1, 6, 24]\n", "a.yaml")


def rows(n: int = N, key: str = "k") -> Rows:
    t = HOUR_MS * np.arange(n, dtype=np.int64)
    return Rows(np.full(n, key), t, np.arange(n, dtype=np.float64)[:, None])


def outcome(steps: int, *, error: float = 0.0, first: int = 0) -> Outcome:
    """Every value is its hour: the last value is wrong by `steps`, yesterday by 24, last week by 168."""
    series = rows()
    y = series.values[:, 0]
    truth = np.concatenate([y[steps:], np.full(steps, np.nan)])
    forecasts = {"persistence": y, "blend": truth + error}
    part = slice(first, None)
    return Outcome(
        series.keys[part],
        series.t[part],
        truth[part],
        {name: row[part] for name, row in forecasts.items()},
        truth[part] - 1,
        truth[part] + 1,
    )


@pytest.mark.parametrize(
    ("steps", "yesterday", "week"), [(1, 24, 168), (6, 24, 168), (24, 24, 168), (25, 48, 168), (169, 192, 336)]
)
def test_naive_forecasts_are_the_newest_same_time_that_is_known(steps: int, yesterday: int, week: int):
    scored = outcome(steps)
    rivals = naive(scored, steps * 3600, Past.of(rows(), 3600))
    wrong = {name: scored.truth - row for name, row in rivals.items()}
    assert set(wrong["persistence"][np.isfinite(wrong["persistence"])]) == {steps}
    assert set(wrong["yesterday"][np.isfinite(wrong["yesterday"])]) == {yesterday}
    assert set(wrong["last week"][np.isfinite(wrong["last week"])]) == {week}
    assert np.isnan(rivals["yesterday"][: yesterday - steps]).all()
    assert np.isfinite(rivals["yesterday"][yesterday - steps :]).all()


def test_what_was_measured_is_looked_up_by_time_and_key():
    one, other = rows(5, "one"), rows(5, "other")
    both = Rows(
        np.concatenate([one.keys, other.keys]),
        np.concatenate([one.t + 60_000, other.t[::-1]]),
        np.concatenate([one.values, 10 + other.values[::-1]]),
    )
    both.values[2] = np.nan
    past = Past.of(both, 3600)
    keys = np.array(["one", "one", "one", "other", "nobody", "one"])
    t = HOUR_MS * np.array([0, 1, 2, 3, 1, 9])
    assert past.at(keys, t).tolist() == pytest.approx([0, 1, np.nan, 13, np.nan, np.nan], nan_ok=True)


def test_a_single_value_is_looked_up_too():
    past = Past.of(rows(1), 3600)
    assert past.at(np.array(["k", "k"]), HOUR_MS * np.array([0, 3])).tolist() == pytest.approx([0, np.nan], nan_ok=True)


def test_a_day_is_no_season_of_records_a_day_apart():
    scored = outcome(1)
    rivals = naive(scored, 86_400, Past.of(rows(), 86_400))
    assert np.isnan(rivals["yesterday"]).all()


def test_all_are_scored_on_the_same_records_and_the_best_naive_one_is_named(stream: StreamDefinition):
    parts = split(rows(), N)
    outcomes = [outcome(steps, error=error, first=168) for steps, error in ((1, 0.5), (6, 12.0), (24, 6.0))]
    given = answer(stream, parts, outcomes)
    assert [(h.steps, h.ahead, h.n, h.best) for h in given.horizons] == [
        (1, 3_600, N - 169, "persistence"),
        (6, 21_600, N - 174, "persistence"),
        (24, 86_400, N - 192, "persistence"),
    ]
    assert given.horizons[0].rmse == {"persistence": 1.0, "yesterday": 24.0, "last week": 168.0, "blend": 0.5}
    assert [h.skill for h in given.horizons] == pytest.approx([0.5, -1.0, 0.75])
    assert [(h.won, h.sure) for h in given.horizons] == [(1.0, True), (0.0, False), (1.0, True)]
    assert verdict(given) == (
        "Forecasting helps: 1 h ahead by 50 %, 1 d ahead by 75 % against the best naive forecast; "
        "it does not help 6 h ahead (100 % worse than the last value)."
    )


def test_last_week_is_not_scored_where_the_file_is_shorter(stream: StreamDefinition):
    short = rows(150)
    scored = outcome(1)
    scored = replace(scored, truth=np.where(np.arange(N) < 149, scored.truth, np.nan))
    given = answer(stream.model_copy(update={"horizon": (1,)}), split(short, 150), [scored])
    assert set(given.horizons[0].rmse) == {"persistence", "yesterday", "blend"}
    assert given.horizons[0].n == 149 - 23


def test_a_gain_of_one_day_alone_is_chance(stream: StreamDefinition):
    scored = outcome(1, error=1.0)
    blend = scored.truth + np.where(np.arange(N) < N - 24, 1.0, 0.0)
    lucky = replace(scored, forecasts={**scored.forecasts, "blend": blend})
    (horizon,) = answer(stream.model_copy(update={"horizon": (1,)}), split(rows(), N), [lucky]).horizons
    assert horizon.skill > 0.01
    assert (horizon.sure, horizon.helps) == (False, False)


def test_four_days_are_too_few_to_be_sure(stream: StreamDefinition):
    for days, sure in ((4, False), (6, True)):
        scored = outcome(1, error=0.5, first=N - 24 * days)
        (horizon,) = answer(stream.model_copy(update={"horizon": (1,)}), split(rows(), N), [scored]).horizons
        assert (horizon.won, horizon.sure) == (1.0, sure)


def one(skill: float, won: float, best: str = "last week", ahead: int = 900) -> HorizonAnswer:
    return HorizonAnswer(1, ahead, 100, {best: 1.0, "blend": 1 - skill}, best, skill, won, won > 0.5)


@pytest.mark.parametrize(
    ("horizons", "sentence"),
    [
        (
            [one(0.04, 0.8), one(0.31, 0.9, ahead=21_600)],
            "15 min ahead by 4 %, 6 h ahead by 31 % against the best naive",
        ),
        ([one(0.004, 0.8)], "Forecasting does not help here: 15 min ahead (as good as last week)."),
        ([one(-0.2, 0.1, "yesterday")], "Forecasting does not help here: 15 min ahead (20 % worse than yesterday)."),
        ([one(0.05, 0.3)], "does not help here: 15 min ahead (5 % better than last week, which may be chance)."),
    ],
)
def test_the_sentence_is_honest(horizons: list[HorizonAnswer], sentence: str):
    assert sentence in verdict(Answer("a", "y", horizons))


def test_an_answer_is_json():
    given = Answer("a", "y", [one(0.1, 0.6)])
    assert msgspec.json.decode(msgspec.json.encode(given), type=Answer) == given


def test_the_first_three_fifths_are_history_and_the_rest_is_bounded(stream: StreamDefinition):
    shuffled = rows().take(np.random.default_rng(1).permutation(N))
    parts = split(shuffled, 100)
    assert (len(parts.history), len(parts.streamed), parts.left) == (288, 100, 92)
    assert parts.history.t.max() < parts.streamed.t.min()
    assert (np.diff(parts.streamed.t) > 0).all()
    assert described(parts, stream) == (
        "288 records before 1970-01-13T00:00 UTC are the history, the 100 from then on are streamed as if they came "
        "now, 1 h after 1 h; the 92 after those are left out (--records); before them the last 100 of the history are "
        "streamed and not scored, so that Driftline, too, has seen what the naive forecasts look back on"
    )


def test_before_what_is_scored_the_last_eight_days_of_the_history_are_streamed():
    parts = split(rows(2 * N), 2 * N)
    assert parts.warm_up.t.tolist() == parts.history.t[-8 * 24 - 1 :].tolist()
    assert split(rows(20), 20).warm_up.t.tolist() == split(rows(20), 20).history.t[-8:].tolist()


def test_the_warm_up_of_many_series_is_no_longer_than_what_is_scored():
    keys = np.tile([f"k{n}" for n in range(100)], N)
    many = Rows(keys, np.repeat(rows().t, 100), np.repeat(rows().values, 100, axis=0))
    parts = split(many, 1_000)
    assert len(parts.warm_up) == 1_000
    assert parts.warm_up.t.max() == parts.history.t.max()


def test_records_of_one_time_stay_together():
    keys = np.tile(["a", "b", "c"], N)
    both = Rows(keys, np.repeat(rows().t, 3), np.repeat(rows().values, 3, axis=0))
    parts = split(both, 10**6)
    assert not set(parts.history.t.tolist()) & set(parts.streamed.t.tolist())


def test_one_wrong_time_does_not_move_the_cut():
    wrong = rows()
    wrong.t[0] = -(10**12)
    assert len(split(wrong, N).history) == 288


@pytest.mark.parametrize(
    "bare", [rows(0), replace(rows(), values=np.full((N, 1), np.nan))], ids=["no rows", "no values"]
)
def test_a_history_without_a_value_is_refused(bare: Rows):
    with pytest.raises(InvalidInput, match=re.escape("found no value of the target in the first 60% of the records")):
        split(bare, N)


def test_no_truth_gives_no_answer(stream: StreamDefinition):
    scored = outcome(1)
    scored = replace(scored, truth=np.full(N, np.nan))
    with pytest.raises(InvalidInput, match="found no forecast whose truth came later"):
        answer(stream, split(rows(), N), [scored, scored, scored])
