"""A definition says what is wrong with it: file, line, key, found, expected."""

import pytest

from driftline.errors import InvalidDefinition
from driftline.streams.definition import StreamDefinition, load, load_folder, parse
from tests.conftest import ROOT

LEAST = "name: a\ntime: {column: when, period: 10min}\ntarget: y\n"


def test_the_streams_that_come_along_are_valid():
    streams = load_folder(ROOT / "streams")
    assert set(streams) == {"outdoor-temperature", "active-power"}
    assert streams["active-power"].columns[0] == "P_avg"
    assert all(stream.season == 144 for stream in streams.values())


def test_the_least_definition_is_one_series_forecast_one_step_ahead():
    stream = parse(LEAST, "a.yaml")
    assert (stream.key, stream.columns, stream.horizon) == (None, ("y",), (1,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LEAST + "lags: twelve\n", "a.yaml: line 4: lags: found 'twelve', expected: Input should be a valid integer"),
        (LEAST + "lags: 1\n", "a.yaml: line 4: lags: found 1, expected: Input should be greater than or equal to 2"),
        (LEAST + "lagz: 12\n", "a.yaml: line 4: lagz: found a key that no stream definition has"),
        ("name: a\ntarget: y\n", "a.yaml: line 1: time: found nothing, expected this key"),
        (LEAST.replace("10min", "10"), "line 2: time.period: found 10, expected a length of time such as 30s"),
        (LEAST.replace("period", "zone: Mars, period"), "found 'Mars', expected `required` or the name of a time zone"),
        (LEAST.replace("10min", "10min, ahead: 0min"), "line 2: time.ahead: found '0min', expected a length of time"),
        (LEAST + "horizon: [6, 1]\n", "horizon: found [6, 1], expected ascending steps, each once"),
        (LEAST + "horizon: 0\n", "line 4: horizon.0: found 0, expected: Input should be greater"),
        (LEAST + "key: y\n", "found 'y' as more than one of time, key, target and features"),
        (LEAST + "weighting: {active: best}\n", "line 4: weighting.active: found 'best', expected"),
        (LEAST + "drift:\n  delta: 2\n", "line 5: drift.delta: found 2, expected"),
        ("- a\n", "found list, expected keys and values"),
        ("a: [\n", "a.yaml: not YAML"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str):
    with pytest.raises(InvalidDefinition) as error:
        parse(text, "a.yaml")
    assert message in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidDefinition, match=r"none\.yaml: can't be read"):
        load(tmp_path / "none.yaml")


def test_two_files_of_one_name_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text(LEAST)
    (tmp_path / "b.yaml").write_text(LEAST)
    with pytest.raises(InvalidDefinition, match=r"b\.yaml: name: found 'a', which another file has already"):
        load_folder(tmp_path)


def test_the_fingerprint_changes_with_what_a_model_sees_and_with_nothing_else(temperature: StreamDefinition):
    same = temperature.model_copy(update={"description": "other", "window": 99})
    other = temperature.model_copy(update={"lags": 13})
    assert same.fingerprint == temperature.fingerprint != other.fingerprint


@pytest.mark.parametrize(("period", "season"), [("1min", 1440), ("1h", 24), ("7min", 0), ("1s", 0), ("1d", 0)])
def test_a_day_is_looked_back_on_where_it_is_a_whole_and_bearable_number_of_records(period: str, season: int):
    assert parse(LEAST.replace("10min", period), "a.yaml").season == season


def test_a_stream_may_say_how_many_keys_it_has_and_when_they_are_forgotten():
    text = "name: a\ntime: {column: when, period: 1d}\nkey: id\ntarget: y\n"
    plain, own = parse(text, "a.yaml"), parse(f"{text}keys: 3\nforget: 90d\n", "a.yaml")
    assert (plain.keys, plain.forget, own.keys, own.forget) == (10_000, 30 * 86_400, 3, 90 * 86_400)
    assert own.longest_silence == 90 * 86_400_000
    assert own.fingerprint == plain.fingerprint


def test_a_key_is_not_forgotten_while_its_forecast_awaits_the_truth():
    slow = parse("name: a\ntime: {column: when, period: 30d}\nkey: id\ntarget: y\nforget: 30d\n", "a.yaml")
    assert slow.longest_silence == (slow.lags + slow.horizon[-1] + slow.patience) * 30 * 86_400_000


@pytest.mark.parametrize(("time", "seconds"), [("1s", 300), ("1h", 3600), ("10min, ahead: 30s", 30)])
def test_a_record_may_be_ahead_by_a_period_or_five_minutes_or_as_it_says(time: str, seconds: int):
    assert parse(LEAST.replace("10min", time), "a.yaml").time.tolerance == seconds
